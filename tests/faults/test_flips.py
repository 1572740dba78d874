"Caches and files with a bit flipped, the time of the file kept, as a disk that rots would do it"
import gzip, os, random, shutil
from collections import Counter
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from PIL import Image

from digitlab import data
from digitlab.data import find_digits, idx_bytes, read_digits, read_pngs

from harm import slow

FEW, MANY = 60, pytest.param(None, marks=slow)


@contextmanager
def flipped(path, bit, keep_time=True):
    "One bit of a file flipped; afterwards the file is as it was"
    sound, stat = path.read_bytes(), path.stat()
    spoiled = bytearray(sound)
    spoiled[bit//8] ^= 1 << bit % 8
    path.write_bytes(spoiled)
    if keep_time: os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    try: yield
    finally:
        path.write_bytes(sound)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

@pytest.fixture
def folder(tmp_path):
    "A folder of IDX files with 40 digits in each part"
    rng, names = np.random.default_rng(0), {'training': 'train', 'testing': 't10k'}
    (tmp_path/'mine').mkdir()
    for part, name in names.items():
        images = np.zeros((40, 28, 28), np.uint8)
        images[:, 6:22, 8:20] = rng.integers(0, 256, (40, 16, 12))
        (tmp_path/'mine'/f'{name}-images-idx3-ubyte').write_bytes(idx_bytes(images))
        (tmp_path/'mine'/f'{name}-labels-idx1-ubyte').write_bytes(idx_bytes(np.arange(40, dtype=np.uint8) % 10))
    return tmp_path/'mine'

def same(a, b): return a.source == b.source and all(map(torch.equal, a[:4], b[:4]))


@pytest.mark.parametrize('flips', [FEW, MANY])
def test_flips_in_the_kept_digits(folder, tmp_path, flips):
    "Every one is noticed, and the digits are decoded anew and kept: all of the first 1,000 bits, and 1,000 of the rest"
    digits = read_digits(folder)
    cache = next((tmp_path/'cache').glob('*.safetensors'))
    n, rng = cache.stat().st_size*8, random.Random(0)
    bits = rng.sample(range(n), flips) if flips else [*range(1000), *rng.sample(range(1000, n), 1000)]
    for bit in bits:
        with flipped(cache, bit): assert same(read_digits(folder), digits), bit

@pytest.mark.parametrize('flips', [FEW, MANY])
def test_flips_in_the_note_of_a_tree(folder, tmp_path, flips):
    "The tree is written anew, whatever became of the note that it is complete"
    tree = find_digits(folder)
    note, before = tree/'complete.json', {p.name: p.read_bytes() for p in tree.glob('*/*/*.png')}
    bits = range(note.stat().st_size*8)
    for bit in random.Random(0).sample(bits, flips//4) if flips else bits[::3]:
        spoiled = bytearray(note.read_bytes())
        spoiled[bit//8] ^= 1 << bit % 8
        note.write_bytes(spoiled)
        number = note.stat().st_ino
        assert find_digits(folder) == tree and note.stat().st_ino != number and note.read_bytes() != spoiled, bit
    assert {p.name: p.read_bytes() for p in tree.glob('*/*/*.png')} == before

@pytest.mark.parametrize('flips', [FEW, MANY])
def test_flips_in_a_picture_of_a_tree(folder, tmp_path, flips):
    "Below the time of the file: the picture is the right one, or it is named. As any program writes: the tree is made anew"
    tree = find_digits(folder)
    path = tree/'training'/'3'/'3.png'
    image, came = read_pngs([path]), Counter()
    bits = range(path.stat().st_size*8)
    for bit in random.Random(0).sample(bits, flips) if flips else bits:
        with flipped(path, bit):
            try: assert (read_pngs([path]) == image).all(), bit
            except ValueError as e: assert '3.png' in str(e); came['named'] += 1
            else: came['harmless'] += 1
    assert came['named'] > .9*sum(came.values())
    path.write_bytes(path.read_bytes())
    assert find_digits(folder) == tree and (read_pngs([path]) == image).all()

@pytest.mark.parametrize('flips', [20, pytest.param(300, marks=slow)])
def test_flips_in_the_note_of_a_refusal(tmp_path, monkeypatch, capsys, flips):
    monkeypatch.setattr(data, 'MNIST_URL', 'http://127.0.0.1:9/')
    digits = read_digits('auto')
    note = tmp_path/'cache'/'mnist-refused'
    for bit in random.Random(0).sample(range(n := note.stat().st_size*8), min(flips, n)):
        with flipped(note, bit, keep_time=False): assert same(read_digits('auto'), digits), bit

@pytest.mark.parametrize('form', ['gz', 'png'])
def test_flips_in_the_source(folder, tmp_path, form):
    "What is read of a gzipped IDX file and of a PNG file of your own is right or refused"
    digits = read_digits(folder)
    if form == 'gz':
        for path in folder.iterdir():
            path.with_name(path.name + '.gz').write_bytes(gzip.compress(path.read_bytes(), 1))
            path.unlink()
        path, source = folder/'train-labels-idx1-ubyte.gz', folder
    else: path = (source := shutil.copytree(find_digits(folder), tmp_path/'tree'))/'testing'/'7'/'17.png'
    bits = range(path.stat().st_size*8)
    for bit in random.Random(0).sample(bits, 60):
        shutil.rmtree(tmp_path/'cache', ignore_errors=True)
        with flipped(path, bit):
            try: got = read_digits(source)
            except (ValueError, OSError) as e: assert path.name in str(e) or 'PNG images' in str(e)
            else: assert all(map(torch.equal, got[:4], digits[:4])), bit

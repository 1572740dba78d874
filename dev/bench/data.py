"Reading the digits: first and later loads against the loop that most people write first."
import os, shutil, tempfile
from pathlib import Path

import numpy as np, torch
from PIL import Image

from digitlab.data import find_digits, idx_bytes, read_digits

from .timing import compare, sizes


def naive(tree):
    paths = sorted(tree.glob('*/*/*.png'))
    return torch.stack([torch.tensor(np.array(Image.open(path))) for path in paths])


def empty_cache(): shutil.rmtree(os.environ['DIGITLAB_CACHE'], ignore_errors=True)


def write_idx(digits, folder, n=None, repeat=1):
    folder.mkdir()
    for stem, x, y in (('train', digits.train_x[:n], digits.train_y[:n]), ('t10k', digits.test_x[:n], digits.test_y[:n])):
        x, y = x.repeat(repeat, 1, 1).numpy(), y.byte().repeat(repeat).numpy()
        (folder/f'{stem}-images-idx3-ubyte').write_bytes(idx_bytes(x))
        (folder/f'{stem}-labels-idx1-ubyte').write_bytes(idx_bytes(y))
    return folder


def main(digits, repeats):
    tree = find_digits(digits.source)
    with tempfile.TemporaryDirectory() as home:
        os.environ['DIGITLAB_CACHE'] = f'{home}/cache'
        home = Path(home)
        idx = write_idx(digits, home/'idx')
        yield compare(f'{len(digits.train_y) + len(digits.test_y):,} images, against opening each PNG in a loop (disk cache warm)',
            {'naive loop': lambda: naive(tree), 'PNG tree, first load': (empty_cache, lambda: read_digits(tree)), 'PNG tree, later load': lambda: read_digits(tree),
             'IDX, first load': (empty_cache, lambda: read_digits(idx)), 'IDX, later load': lambda: read_digits(idx)}, repeats)
        whole = len(digits.train_y)
        folders = {n: write_idx(digits, home/f'idx{n}', min(n, whole), max(1, n//whole)) for n in sizes(whole)}
        yield compare('later loads of IDX, by the number of training images',
            {f'{n:,}': lambda folder=folder: read_digits(folder) for n, folder in folders.items()}, repeats, base=f'{whole:,}')

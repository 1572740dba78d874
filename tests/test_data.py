"Where the digits come from: what good and bad files, folders, disks and servers give"
import gzip, hashlib, http.server, io, multiprocessing, os, shutil, signal, subprocess
import sys, threading, time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings, strategies as st
from PIL import Image

from digitlab import data
from digitlab.data import (MNIST_SHA256, atomic_write, fetch_mnist, find_digits, idx_bytes,
                           read_digits, read_idx, resize_digits)

holds = partial(settings, deadline=None, derandomize=True, database=None,
                suppress_health_check=list(HealthCheck))
seeds = st.integers(0, 2**32 - 1)
NAMES = list(MNIST_SHA256)


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    "Every test has a home and a cache of its own, no MNIST and no network"
    for name in ('DIGITLAB_MNIST', 'FASTAI_HOME', 'XDG_CACHE_HOME'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('HOME', str(tmp_path/'home'))
    monkeypatch.setenv('DIGITLAB_CACHE', str(tmp_path/'cache'))
    def no_network(): raise ConnectionError('no network here')
    monkeypatch.setattr(data, 'fetch_mnist', no_network)
    data._cache.cache_clear()

def some_digits(n=30, seed=0):
    images = np.random.default_rng(seed).integers(0, 256, (n, 28, 28), np.uint8)
    return images, np.arange(n, dtype=np.uint8) % 10

def write_idx(folder, n=30):
    "Four IDX files, the images gzipped and the labels not"
    folder.mkdir(parents=True)
    for name in NAMES:
        images, labels = some_digits(n, seed='t10k' in name)
        if 'labels' in name: (folder/name).write_bytes(idx_bytes(labels))
        else: (folder/f'{name}.gz').write_bytes(gzip.compress(idx_bytes(images), 1))
    return folder

def write_tree(folder, n=30):
    "The same digits as PNG images"
    for part in data.MNIST_COUNTS:
        for number, (image, label) in enumerate(zip(*some_digits(n, seed=part == 'testing'))):
            (folder/part/str(label)).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder/part/str(label)/f'{number}.png')
    return folder

def same(a, b): return all(torch.equal(x, y) for x, y in zip(a[:4], b[:4]))

@pytest.fixture
def idx(tmp_path): return write_idx(tmp_path/'idx')

@pytest.fixture
def tree(tmp_path): return write_tree(tmp_path/'tree')

@pytest.fixture
def tiny_mnist(monkeypatch, idx):
    "Let the digits of `idx` pass for MNIST"
    sums = {}
    for name in NAMES:
        images, labels = some_digits(seed='t10k' in name)
        sums[name] = hashlib.sha256(idx_bytes(labels if 'labels' in name else images)).hexdigest()
    monkeypatch.setattr(data, 'MNIST_SHA256', sums)
    return idx


# sources and their names

def test_both_forms_agree(idx, tree):
    images, labels = some_digits()
    digits = read_digits(tree)
    assert same(digits, read_digits(idx)) and torch.equal(digits.train_x, torch.tensor(images))
    assert digits.train_y.tolist() == labels.tolist() and digits.train_y.dtype == torch.int64
    assert repr(digits) == "Digits(tree, 30 to train, 30 to test)"

@pytest.mark.parametrize('name', ['mnist', 'digits', 'auto'])
@pytest.mark.parametrize('write', [write_idx, write_tree])
def test_a_folder_may_have_any_name(tmp_path, name, write):
    digits = read_digits(write(tmp_path/name))
    assert (digits.kind, digits.name) == ('folder', name)

def test_mnist_is_known_by_its_bytes(tiny_mnist, tree):
    assert (read_digits(tiny_mnist).kind, read_digits(tiny_mnist).name) == ('mnist', 'idx')
    assert (read_digits(tree).kind, read_digits(tree).name) == ('mnist', 'tree')

def test_offline_digits(tmp_path):
    digits = read_digits('digits')
    assert (digits.kind, digits.name) == ('digits', 'digits')
    assert digits.train_x.shape == (1437, 28, 28) and digits.test_x.shape == (360, 28, 28)
    assert not (tmp_path/'cache').exists()

@pytest.mark.parametrize('source', ['no-such', '~/no-such', '.'])
def test_a_source_that_is_nothing(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for read in (read_digits, find_digits):
        with pytest.raises(FileNotFoundError, match='has neither train-.* nor training/<digit>'):
            read(source)

@pytest.mark.parametrize('source', ['mnist', 'auto'])
def test_what_digitlab_mnist_names(monkeypatch, idx, source):
    monkeypatch.setenv('DIGITLAB_MNIST', 'nowhere')
    with pytest.raises(FileNotFoundError, match="nowhere has neither"): read_digits(source)
    monkeypatch.setenv('DIGITLAB_MNIST', str(idx))
    with pytest.raises(ValueError, match="idx isn't MNIST"): read_digits(source)

def test_tilde_and_relative_paths(monkeypatch, tmp_path):
    home, deep = tmp_path/'home'/'mine', tmp_path/'project'/'nbs'/'appendix'
    mine = write_idx(tmp_path/'project'/'mine')
    for folder in home, deep: folder.mkdir(parents=True)
    for here in (tmp_path/'project', deep.parent, deep):
        monkeypatch.chdir(here)
        assert read_digits('mine').name == 'mine'
        for path, folder in {'~/mine': home, 'mine': mine}.items():
            assert data.absolute(path) == folder
            monkeypatch.setenv('DIGITLAB_CACHE', path)
            data._cache.cache_clear()
            assert data._cache() == folder
    assert not list(tmp_path.rglob('~'))

def test_half_a_tree_of_fastais(monkeypatch, tmp_path, capsys):
    half = write_tree(tmp_path/'home'/'.fastai'/'data'/'mnist_png')
    assert read_digits('auto').kind == 'digits'
    assert f'Passed over {half}: {half} isn\'t MNIST, or not all of it' in capsys.readouterr().err
    shutil.rmtree(half/'testing')
    assert read_digits('auto').kind == 'digits'
    assert f'Passed over {half}: {half}/testing lacks PNGs of a digit' in capsys.readouterr().err

def test_a_whole_tree_of_fastais(tmp_path, tiny_mnist):
    write_tree(tmp_path/'home'/'.fastai'/'data'/'mnist_png')
    assert read_digits('auto').name == 'mnist'


# IDX files

def test_folders_called_like_the_files(idx):
    "Kaggle's archive has folders with dashes beside files with dots"
    before = read_digits(idx)
    for file in list(idx.iterdir()): file.rename(idx/file.name.replace('-idx', '.idx'))
    for name in NAMES: (idx/name).mkdir()
    assert same(before, read_digits(idx))

def test_several_members(tmp_path):
    images = some_digits(30)[0]
    packed = idx_bytes(images)
    (tmp_path/'x').write_bytes(b''.join(
        gzip.compress(packed[i:i+9999]) for i in range(0, len(packed), 9999)))
    assert (read_idx(tmp_path/'x') == images).all()

def labels(n, label=0): return idx_bytes(np.full(n, label, np.uint8))

@pytest.mark.parametrize('content, message', [
    (labels(30)[:-1], 'array of size 29 into shape (30,)'), (labels(30) + b'0', 'array of size 31'),
    (b'\0\0\r' + labels(30)[3:], 'not of shape ()'), (b'', 'not of shape ()'),
    (labels(30, 10), 'one label from 0 to 9'), (labels(29), 'label from 0 to 9 for each')])
def test_bad_idx_is_named(idx, content, message):
    (idx/'train-labels-idx1-ubyte').write_bytes(content)
    with pytest.raises(ValueError) as error: read_digits(idx)
    assert message in str(error.value) and str(idx) in str(error.value)

@pytest.fixture(scope='module')
def place(tmp_path_factory): return tmp_path_factory.mktemp('properties')

@holds(max_examples=100)
@given(seeds, st.integers(0, 40), st.lists(st.integers(1, 9), max_size=3).map(tuple), st.booleans())
@example(0, 0, (28, 28), True)
def test_idx_round_trip(place, seed, n, shape, zipped):
    array = np.random.default_rng(seed).integers(0, 256, (n, *shape), np.uint8)
    (place/'idx').write_bytes((gzip.compress if zipped else bytes)(idx_bytes(array)))
    found = read_idx(place/'idx', shape)
    assert found.shape == array.shape and (found == array).all() and found.flags.writeable

@holds(max_examples=200)
@given(st.integers(0, 10**6))
def test_a_flipped_bit_in_a_gzipped_idx(place, bit):
    array = some_digits(1)[0]
    packed = bytearray(gzip.compress(idx_bytes(array)))
    packed[bit//8 % len(packed)] ^= 1 << bit % 8
    (place/'idx').write_bytes(packed)
    try: assert (read_idx(place/'idx') == array).all()  # such as a bit of gzip's own date
    except ValueError as e: assert 'get a new copy' in str(e)


# trees of PNG images

def test_order_is_by_number_and_stray_files_are_passed_over(tree):
    (tree/'training'/'3'/'3.png').rename(tree/'training'/'3'/'last.PNG')
    for name in ('.DS_Store', 'notes.txt', '._7.png'): (tree/'training'/'3'/name).write_bytes(b'x')
    (tree/'training'/'10').mkdir()
    x, y = read_digits(tree)[:2]
    assert torch.equal(x[y == 3], torch.tensor(some_digits()[0])[[13, 23, 3]])

@pytest.mark.parametrize('damage, message', [
    (lambda p: p.write_bytes(b'text'), "can't be read"),
    (lambda p: p.write_bytes(p.read_bytes()[:-30]), "can't be read"),
    (lambda p: Image.new('RGB', (28, 28)).save(p), 'mode RGB, not'),
    (lambda p: Image.new('L', (20, 28)).save(p), r'is \(20, 28\) in')])
def test_a_bad_png_is_named(tree, damage, message):
    damage(tree/'training'/'7'/'17.png')
    with pytest.raises(ValueError, match=f'17.png.*{message}'): read_digits(tree)

def test_no_flipped_bit_of_a_png_gives_other_pixels(tmp_path):
    path, image = tmp_path/'x.png', resize_digits(torch.eye(8)[None])[0].numpy()
    Image.fromarray(image).save(path)
    png = path.read_bytes()
    for bit in range(0, 8*len(png), 3):
        flipped = bytearray(png)
        flipped[bit//8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try: assert data._read_png(path) == image.tobytes()
        except ValueError as e: assert 'x.png' in str(e)

def test_an_overwritten_image_of_a_large_tree(tmp_path):
    "Nothing decoded is kept, so nothing can be out of date"
    Image.new('L', (28, 28), 9).save(tmp_path/'9.png')
    for part, digit in ((part, str(digit)) for part in data.MNIST_COUNTS for digit in range(10)):
        (tmp_path/'t'/part/digit).mkdir(parents=True)
        for n in range(1000): os.link(tmp_path/'9.png', tmp_path/'t'/part/digit/f'{n}.png')
    own = tmp_path/'t'/'training'/'5'/'5.png'
    own.unlink()
    for gray in (100, 200):
        with open(own, 'wb') as file: Image.new('L', (28, 28), gray).save(file, 'PNG')
        x, y = read_digits(tmp_path/'t')[:2]
        assert len(y) == 10_000 and x[y == 5][5].unique().tolist() == [gray]

SCRIPT = '''
import multiprocessing, sys
multiprocessing.set_start_method('spawn')
from digitlab.data import read_digits
unneeded = {'fastai', 'matplotlib', 'pandas', 'sklearn'} & set(sys.modules)
print(read_digits(sys.argv[1]), sorted(unneeded))
'''

def test_a_script_without_main_guard(tmp_path):
    "Where processes are spawned each would run the script again; only what is needed is imported"
    (tmp_path/'script.py').write_text(SCRIPT)
    done = subprocess.run([sys.executable, tmp_path/'script.py', write_tree(tmp_path/'big', 1500)],
                          capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("Digits(big, 1,500 to train, 1,500 to test) []\n", '')


# resizing

def test_on_another_device():
    assert resize_digits(torch.rand(3, 8, 9, device='meta')).shape == (3, 28, 28)

def test_bytes_and_floats_give_the_same():
    images = torch.tensor(some_digits(5)[0])
    assert torch.equal(resize_digits(images), resize_digits(images.double()/255))

def test_blank_images_stay_blank():
    images = torch.zeros(2, 8, 8)
    images[1, 3:5, 3:5] = 1
    out = resize_digits(images)
    assert out[0].max() == 0 and out[1].max() == 255
    assert resize_digits(images[:0]).shape == (0, 28, 28)

@holds(max_examples=50)
@given(seeds, st.integers(1, 4), st.integers(2, 60), st.integers(2, 60))
def test_the_center_of_mass_comes_to_the_middle(seed, n, height, width):
    ink = np.zeros((n, height + 2, width + 2), np.float32)
    ink[:, 1:-1, 1:-1] = np.random.default_rng(seed).random((n, height, width)) > .5
    ink[:, 1, 1] = ink[:, -2, -2] = 1  # so that the box is that of all
    out = resize_digits(torch.tensor(ink))
    assert out.shape == (n, 28, 28) and out.dtype == torch.uint8 and (out.amax((1, 2)) > 0).all()
    if height == width >= 10:
        mass, at = out.double(), torch.arange(28)
        assert ((mass.sum(1)*at).sum(1)/mass.sum((1, 2)) - 13.5).abs().max() < 1.5


# writing

def test_atomic_write(tmp_path):
    "What others left behind isn't ours to remove"
    (tmp_path/'.part-thesis').mkdir()
    path = tmp_path/'deep'/'note.txt'
    for text in ('first', 'second'):
        with atomic_write(path) as part:
            part.write_text(text)
            assert part.suffix == '.txt' and not path.exists() or path.read_text() == 'first'
        assert path.read_text() == text
    with pytest.raises(OSError, match='No space left'), atomic_write(path) as part:
        part.write_text('half')
        raise OSError(28, 'No space left on device')
    assert path.read_text() == 'second' and os.listdir(path.parent) == ['note.txt']
    assert sorted(os.listdir(tmp_path)) == ['.part-thesis', 'deep']

@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')
def test_killed_while_writing(tmp_path):
    "There is the old or the new, never half"
    path = tmp_path/'note.txt'
    path.write_text('old')
    if not (child := os.fork()):
        with atomic_write(path) as part:
            part.write_text('half')
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL and path.read_text() == 'old'
    with atomic_write(path) as part: part.write_text('new')
    assert path.read_text() == 'new'

def test_find_digits_writes_once_and_follows_the_source(idx, tree):
    found = find_digits(idx)
    assert same(read_digits(found), read_digits(idx)) and find_digits(tree) != tree
    written = os.stat(found).st_ino
    assert find_digits(idx) == found and os.stat(found).st_ino == written
    (idx/'train-labels-idx1-ubyte').write_bytes(idx_bytes(some_digits()[1][::-1].copy()))
    assert find_digits(idx) != found and same(read_digits(find_digits(idx)), read_digits(idx))

def test_find_digits_on_a_full_disk(idx, tmp_path, monkeypatch):
    def full(item): raise OSError(28, 'No space left on device')
    monkeypatch.setattr(data, '_write_png', full)
    with pytest.raises(OSError, match='No space left'): find_digits(idx)
    assert os.listdir(tmp_path/'cache') == []


# no home, or none that can be written to

@pytest.mark.parametrize('cache', [None, '~/cache', '/dev/null/cache'])
@pytest.mark.parametrize('home', [None, '/dev/null', '/proc/nowhere'])
def test_without_a_home(idx, tmp_path, monkeypatch, capsys, home, cache):
    "An unknown user, or a disk that can only be read: it works, and says so once"
    import pwd
    def unknown(uid): raise KeyError(uid)
    monkeypatch.setattr(pwd, 'getpwuid', unknown)
    monkeypatch.chdir(tmp_path)
    for name, value in (('HOME', home), ('DIGITLAB_CACHE', cache)):
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    for _ in range(2):
        assert read_digits('auto').kind == 'digits'
        assert same(read_digits(idx), read_digits(find_digits(idx)))
    assert capsys.readouterr().err.count('nothing is kept. Set DIGITLAB_CACHE') == 1
    assert os.listdir(tmp_path) == ['idx']

def test_without_a_home_but_with_a_cache(idx, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv('HOME')
    assert find_digits(idx).parent == tmp_path/'cache' and capsys.readouterr().err == ''


# the network

@pytest.fixture
def server(tiny_mnist):
    "Serves the tiny MNIST on the loopback, unless `server.reply(handler)` does something else"
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            server.asked.append(self.path)
            server.reply(self)
        do_HEAD = do_GET
        def log_message(self, *args): pass
    def reply(handler):
        name = Path(handler.path).name
        file = next(f for f in tiny_mnist.iterdir() if f.name in (name, name[:-3]))
        send(handler, file.read_bytes() if file.suffix else gzip.compress(file.read_bytes()))
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    server.asked, server.reply, server.sound = [], reply, reply
    server.url = f'http://127.0.0.1:{server.server_port}/'
    threading.Thread(target=partial(server.serve_forever, .02), daemon=True).start()
    yield server
    server.shutdown()

def send(handler, content, announced=None):
    handler.send_response(200)
    handler.send_header('Content-Length', str(announced or len(content)))
    handler.end_headers()
    if handler.command == 'GET': handler.wfile.write(content)

def test_fetched_once_and_again_if_it_is_damaged(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(data, 'fetch_mnist', partial(fetch_mnist, (server.url,)))
    digits, cache = read_digits('auto'), tmp_path/'cache'/'mnist'
    assert digits.kind == 'mnist' and len(server.asked) == 8
    assert same(digits, read_digits('mnist')) and len(server.asked) == 8
    assert sorted(os.listdir(cache)) == sorted(f'{name}.gz' for name in NAMES)
    assert capsys.readouterr().err == ''
    damaged = cache/f'{NAMES[2]}.gz'
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert same(digits, read_digits('mnist')) and len(server.asked) == 10
    assert 'Passed over' in capsys.readouterr().err

BROKEN = {
    'forbidden': lambda h: h.send_error(403),
    'another page': lambda h: send(h, b'<html>Please log in</html>'),
    'breaks off': lambda h: send(h, gzip.compress(idx_bytes(some_digits()[0]))[:999], 20_000),
    'a flipped bit': lambda h: send(h, gzip.compress(
        idx_bytes(some_digits()[0] ^ (np.arange(28) == 3)))),
    'stalls at once': lambda h: time.sleep(2),
    'stalls later': lambda h: (send(h, b'\x1f\x8b', 999), h.wfile.flush(), time.sleep(2)),
    'closes': lambda h: h.connection.close()}

@pytest.mark.parametrize('fault', BROKEN)
def test_a_broken_server_and_then_a_sound_one(server, tmp_path, fault):
    "The error names address and remedies, nothing wrong is kept, and the next address is tried"
    def reply(handler): (BROKEN[fault] if '/broken/' in handler.path else server.sound)(handler)
    server.reply, broken = reply, f'{server.url}broken/'
    with pytest.raises(ConnectionError, match=f"{broken}: .*DIGITLAB_MNIST.*source='digits'"):
        fetch_mnist((broken,), timeout=.4)
    assert not list((tmp_path/'cache').rglob('*.*'))
    assert fetch_mnist((broken, server.url), timeout=.4) == tmp_path/'cache'/'mnist'

def test_auto_without_network(monkeypatch, capsys):
    "Nothing listens on the first address, and the name of the second isn't found for a minute"
    def head(self, url, *args, **kwargs):
        if 'slow' in url: time.sleep(60)
        return sound(self, url, *args, **kwargs)
    sound = data.pooch.HTTPDownloader.__call__
    monkeypatch.setattr(data.pooch.HTTPDownloader, '__call__', head)
    monkeypatch.setattr(data, 'fetch_mnist', partial(
        fetch_mnist, ('http://127.0.0.1:9/', 'http://slow/'), .5))
    start = time.time()
    assert read_digits('auto').kind == 'digits' and time.time() - start < 10
    assert capsys.readouterr().err.count("These are scikit-learn's 1,797 digits") == 1
    with pytest.raises(ConnectionError, match='no answer'): read_digits('mnist')

@pytest.mark.skipif('fork' not in multiprocessing.get_all_start_methods(), reason='needs fork')
def test_processes_at_once(server, idx, tmp_path):
    "They fetch and write the same, and none takes away what another reads"
    def work():
        ok = False
        try: ok = same(read_digits(find_digits(fetch_mnist((server.url,)))), read_digits(idx))
        finally: os._exit(not ok)
    children = []
    for _ in range(4):
        if not (child := os.fork()): work()
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0]*4
    assert not [name for name in os.listdir(tmp_path/'cache') if name.startswith('.')]

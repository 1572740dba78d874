"Where the digits come from: what good and bad files, folders, disks and servers give"
import gzip, hashlib, http.server, multiprocessing, os, pwd, subprocess, sys, threading, time
from functools import partial

import numpy as np, pytest, torch
from hypothesis import example, given, strategies as st
from PIL import Image

from digitlab import data
from digitlab.data import (MNIST_SHA256, fetch_mnist, find_digits, idx_bytes, read_digits,
                           read_idx, resize_digits)
from digitlab.files import cache_folder

NAMES = list(MNIST_SHA256)


@pytest.fixture(autouse=True)
def own_place(tmp_path, monkeypatch):
    "Every test has a home, a cache and a folder of its own, no MNIST and no network"
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('DIGITLAB_MNIST', raising=False)
    monkeypatch.setenv('HOME', str(tmp_path/'home'))
    monkeypatch.setenv('DIGITLAB_CACHE', str(tmp_path/'cache'))
    def no_network(): raise ConnectionError('no network here')
    monkeypatch.setattr(data, 'fetch_mnist', no_network)
    cache_folder.cache_clear()

def some_digits(n=30, seed=0):
    images = np.random.default_rng(seed).integers(0, 256, (n, 28, 28), np.uint8)
    return images, np.arange(n, dtype=np.uint8) % 10

def idx_content(name):
    images, labels = some_digits(seed='t10k' in name)
    return idx_bytes(labels if 'labels' in name else images)

def write_idx(folder):
    "Four IDX files, gzipped"
    folder.mkdir(parents=True)
    for name in NAMES: (folder/f'{name}.gz').write_bytes(gzip.compress(idx_content(name), 1))
    return folder

def write_tree(folder):
    "The same digits as PNG images"
    for part in ('training', 'testing'):
        for number, (image, label) in enumerate(zip(*some_digits(seed=part == 'testing'))):
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
    sums = {name: hashlib.sha256(idx_content(name)).hexdigest() for name in NAMES}
    monkeypatch.setattr(data, 'MNIST_SHA256', sums)
    return idx


# sources and their names

@pytest.mark.parametrize('name', ['mnist', 'digits', 'auto'])
@pytest.mark.parametrize('write', [write_idx, write_tree])
def test_a_folder_may_have_any_name(tmp_path, name, write):
    digits = read_digits(write(tmp_path/name))
    images, labels = map(torch.tensor, some_digits())
    assert (digits.kind, digits.name) == ('folder', name) and digits.train_y.dtype == torch.int64
    assert same(digits[:2], (images, labels.long()))

@pytest.mark.parametrize('source', ['no-such', '~/no-such', '.'])
def test_a_source_that_is_nothing(source):
    with pytest.raises(FileNotFoundError, match='has neither train-.* nor training/<digit>'):
        read_digits(source)

@pytest.mark.parametrize('source', ['mnist', 'auto'])
def test_what_digitlab_mnist_names(monkeypatch, idx, source):
    for folder, message in ('nowhere', 'nowhere has neither'), (str(idx), "idx isn't MNIST"):
        monkeypatch.setenv('DIGITLAB_MNIST', folder)
        with pytest.raises((OSError, ValueError), match=message): read_digits(source)

@pytest.mark.parametrize('here', ['project', 'project/nbs', 'project/nbs/appendix'])
@pytest.mark.parametrize('path, folder', [('~/mine', 'home/mine'), ('mine', 'project/mine')])
def test_tilde_and_relative_paths(monkeypatch, tmp_path, here, path, folder):
    write_idx(tmp_path/folder)
    (tmp_path/here).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(tmp_path/here)
    monkeypatch.setenv('DIGITLAB_CACHE', path)
    assert cache_folder() == tmp_path/folder and read_digits(path).name == 'mine'

def test_half_a_tree_of_fastais(monkeypatch, tmp_path, tiny_mnist, capsys):
    tree = write_tree(tmp_path/'home'/'.fastai'/'data'/'mnist_png')
    assert read_digits('auto').name == 'mnist' and capsys.readouterr().err == ''
    (tree/'testing').rename(tmp_path/'away')
    assert read_digits('auto').kind == 'digits'
    assert f'Passed over {tree}: {tree}/testing lacks PNGs of a digit' in capsys.readouterr().err


# IDX files

def test_folders_called_like_the_files(idx):
    "Kaggle's archive has folders with dashes beside files with dots, not gzipped"
    before = read_digits(idx)
    for name in NAMES:
        (idx/name).mkdir()
        (idx/name.replace('-idx', '.idx')).write_bytes(idx_content(name))
        (idx/f'{name}.gz').unlink()
    assert same(before, read_digits(idx))

def labels(n, label=0): return idx_bytes(np.full(n, label, np.uint8))

@pytest.mark.parametrize('content, message', [
    (labels(30)[:-1], 'array of size 29 into shape (30,)'), (labels(30) + b'0', 'array of size 31'),
    (b'\0\0\r' + labels(30)[3:], 'must start with'), (b'', 'must start with'),
    (b'\0\0\x08', 'out of range'), (b'\0\0\x08\x03', 'requires'),
    (idx_content(NAMES[0]), 'label from 0 to 9'), (labels(30, 10), 'label from 0 to 9'),
    (labels(29), 'label from 0 to 9'), (gzip.compress(labels(30))[:-9], 'ended before')])
def test_bad_idx_is_named(idx, content, message):
    (idx/'train-labels-idx1-ubyte').write_bytes(content)
    with pytest.raises(ValueError) as error: read_digits(idx)
    assert message in str(error.value) and str(idx) in str(error.value)

def in_members(content): # gzipped in two pieces, one after the other, as some tools do it
    return gzip.compress(content[:9]) + gzip.compress(content[9:])

@given(st.integers(0, 2**32), st.lists(st.integers(0, 9), max_size=4),
       st.sampled_from([bytes, gzip.compress, in_members]))
@example(0, [0, 28, 28], bytes)
def test_idx_round_trip(tmp_path, seed, shape, pack):
    array = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    (tmp_path/'idx').write_bytes(pack(idx_bytes(np.asarray(array))))
    found = read_idx(tmp_path/'idx')
    assert np.array_equal(found, array) and found.flags.writeable

def test_no_flipped_bit_gives_other_pixels(tmp_path):
    "It is noticed, or it does no harm, such as one of the date"
    path, image = tmp_path/'x', resize_digits(torch.eye(8)[None])[0].numpy()
    Image.fromarray(image).save(path, 'PNG')
    packed = gzip.compress(idx_bytes(image))
    for read, content in (data._read_png, path.read_bytes()), (read_idx, packed):
        path.write_bytes(content)
        assert bytes(read(path)) == image.tobytes()
        for bit in range(0, 8*len(content), 3):
            flipped = bytearray(content)
            flipped[bit//8] ^= 1 << bit % 8
            path.write_bytes(flipped)
            try: assert bytes(read(path)) == image.tobytes()
            except ValueError as e: assert f'{path} can\'t be read' in str(e)


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
    (lambda p: p.write_bytes(p.read_bytes()[:33] + p.read_bytes()[-12:]), "can't be read"),
    (lambda p: Image.new('RGB', (28, 28)).save(p), 'mode RGB, not'),
    (lambda p: Image.new('L', (20, 28)).save(p), r'is \(20, 28\) in')])
def test_a_bad_png_is_named(tree, damage, message):
    damage(tree/'training'/'7'/'17.png')
    with pytest.raises(ValueError, match=f'17.png.*{message}'): read_digits(tree)

def test_a_script_without_main_guard(tree, tmp_path):
    "Where processes are spawned, each would run the script again"
    (tmp_path/'script.py').write_text(
        'import multiprocessing, sys\nfrom digitlab.data import read_digits\n'
        'multiprocessing.set_start_method("spawn")\nprint(read_digits(sys.argv[1]))')
    done = subprocess.run([sys.executable, tmp_path/'script.py', tree], capture_output=True)
    assert (done.stdout, done.stderr) == (b'Digits(tree, 30 to train, 30 to test)\n', b'')


# resizing

def test_resize_on_another_device_bytes_and_blank_images():
    assert resize_digits(torch.rand(3, 8, 9, device='meta')).shape == (3, 28, 28)
    images = torch.tensor(some_digits(5)[0])
    assert torch.equal(resize_digits(images), resize_digits(images.double()/255))
    assert resize_digits(torch.zeros(2, 8, 8)).max() == 0

@given(st.integers(0, 2**32), st.integers(10, 60))
def test_the_center_of_mass_comes_to_the_middle(seed, side):
    ink = np.zeros((2, side + 2, side + 2), np.float32)
    ink[:, 1:-1, 1:-1] = np.random.default_rng(seed).random((2, side, side)) > .5
    ink[:, 1, 1] = ink[:, -2, -2] = 1  # so that the box is that of all
    mass, at = resize_digits(torch.tensor(ink)).double(), torch.arange(28)
    assert ((mass.sum(1)*at).sum(1)/mass.sum((1, 2)) - 13.5).abs().max() < 1.5


def test_find_digits_writes_once_and_follows_the_source(idx, tree):
    found = find_digits(idx)
    assert same(read_digits(found), read_digits(idx)) and find_digits(tree) == found != tree
    (found/'mine').touch()
    assert find_digits(idx) == found and (found/'mine').exists()
    (idx/'train-labels-idx1-ubyte').write_bytes(idx_bytes(some_digits()[1][::-1].copy()))
    assert find_digits(idx) != found and same(read_digits(find_digits(idx)), read_digits(idx))

@pytest.mark.parametrize('cache', [None, '~/cache', '/dev/null/cache', 'sound'])
@pytest.mark.parametrize('home', [None, '/dev/null', '/proc/nowhere'])
def test_without_a_home(idx, tmp_path, monkeypatch, capsys, home, cache):
    "An unknown user, or a disk that can only be read: it works, and says so once"
    def unknown(uid): raise KeyError(uid)
    monkeypatch.setattr(pwd, 'getpwuid', unknown)
    for name, value in (('HOME', home), ('DIGITLAB_CACHE', cache)):
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    for _ in range(2):
        assert read_digits('auto').kind == 'digits'
        assert same(read_digits(idx), read_digits(find_digits(idx)))
    is_kept = cache == 'sound'
    assert capsys.readouterr().err.count('is kept. Set DIGITLAB_CACHE') == (not is_kept)
    assert sorted(os.listdir(tmp_path)) == ['idx'] + ['sound']*is_kept


# the network

OTHER = gzip.compress(idx_bytes(some_digits()[0] ^ (np.arange(28) == 3)))
BROKEN = {  # what a server may do, by the folder that it is asked for
    'forbidden': lambda h: h.send_error(403),
    'page': lambda h: send(h, b'<html>Please log in</html>'),
    'breaks-off': lambda h: send(h, OTHER[:999], 20_000),
    'other-bits': lambda h: send(h, OTHER),
    'stalls-at-once': lambda h: time.sleep(2),
    'stalls-later': lambda h: (send(h, b'\x1f\x8b', 999), h.wfile.flush(), time.sleep(2))}

def send(handler, content, announced=None):
    handler.send_response(200)
    handler.send_header('Content-Length', str(announced or len(content)))
    handler.end_headers()
    handler.wfile.write(content)

class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self): BROKEN.get(self.path.split('/')[1], lambda h: super().do_GET())(self)
    def log_message(self, *args): pass

@pytest.fixture
def url(tiny_mnist):
    "Of a server that has the tiny MNIST, and that is broken in some folders"
    handler = partial(Handler, directory=tiny_mnist)
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=partial(server.serve_forever, .02), daemon=True).start()
        yield f'http://127.0.0.1:{server.server_port}/'
        server.shutdown()

def test_fetched_once_and_again_if_it_is_damaged(url, idx, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(data, 'fetch_mnist', lambda: fetch_mnist([url], timeout=60))
    digits, cache = read_digits('auto'), tmp_path/'cache'/'mnist'
    assert digits.kind == 'mnist' and sorted(os.listdir(cache)) == sorted(os.listdir(idx))
    before = [path.stat().st_mtime_ns for path in cache.iterdir()]
    assert same(digits, read_digits('mnist')) and capsys.readouterr().err == ''
    assert before == [path.stat().st_mtime_ns for path in cache.iterdir()]
    damaged = cache/f'{NAMES[2]}.gz'
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert same(digits, read_digits('mnist')) and 'Passed over' in capsys.readouterr().err

@pytest.mark.parametrize('fault', BROKEN)
def test_a_broken_server_and_then_a_sound_one(url, tmp_path, fault):
    "The error names address and remedies, nothing wrong is kept, and the next address is tried"
    broken = f'{url}{fault}/'
    with pytest.raises(ConnectionError, match=f"{broken}: .*DIGITLAB_MNIST.*source='digits'"):
        fetch_mnist((broken,), timeout=.4)
    assert not list((tmp_path/'cache').rglob('*.*'))
    assert fetch_mnist((broken, url), timeout=.4) == tmp_path/'cache'/'mnist'

def test_auto_without_network(monkeypatch, capsys):
    "Nothing listens on the first address, and the name of the second isn't found for a minute"
    ask = data.pooch.HTTPDownloader.__call__
    def slow(*args): return time.sleep(60) if 'slow' in args[1] else ask(*args)
    monkeypatch.setattr(data.pooch.HTTPDownloader, '__call__', slow)
    monkeypatch.setattr(data, 'fetch_mnist', partial(
        fetch_mnist, ('http://127.0.0.1:9/', 'http://slow/'), .5))
    start = time.time()
    assert read_digits('auto').kind == 'digits' and time.time() - start < 15
    assert capsys.readouterr().err.count("These are scikit-learn's 1,797 digits") == 1
    with pytest.raises(ConnectionError, match='no answer'): read_digits('mnist')

def fetch_and_compare(url, folder):
    return same(read_digits(find_digits(fetch_mnist([url]))), read_digits(folder))

def test_processes_at_once(url, idx, tmp_path):
    "They fetch and write the same, and none takes away what another reads"
    with multiprocessing.get_context('fork').Pool(4) as pool:
        assert pool.starmap(fetch_and_compare, [(url, idx)]*4) == [True]*4
    assert not list((tmp_path/'cache').rglob('.part-*'))

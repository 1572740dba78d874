"Faults of the digits' files, the cache and the network, each really caused."
import gzip, http.server, io, os, re, shutil, signal, subprocess, sys, tarfile, threading, time

import numpy as np, pytest, torch
from PIL import Image

from digitlab import data
from digitlab.data import fetch_mnist, find_digits, idx_bytes, list_images, locate, read_digits, read_idx, record, resize_digits, stamp_of, write_aside

IDX = {('training', 'images'): 'train-images-idx3-ubyte', ('training', 'labels'): 'train-labels-idx1-ubyte',
       ('testing', 'images'): 't10k-images-idx3-ubyte', ('testing', 'labels'): 't10k-labels-idx1-ubyte'}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    "Every test has a cache and a home of its own, and no MNIST"
    for name in ('DIGITLAB_MNIST', 'FASTAI_HOME'): monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('HOME', str(tmp_path/'home'))
    monkeypatch.setenv('DIGITLAB_CACHE', str(tmp_path/'cache'))


def some_digits(n=30):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (n, 28, 28), np.uint8), np.arange(n, dtype=np.uint8) % 10


@pytest.fixture
def idx(tmp_path):
    "A folder of four IDX files, the images gzipped and the labels not"
    images, labels = some_digits()
    folder = tmp_path/'idx'
    folder.mkdir()
    for part in data.MNIST_COUNTS:
        (folder/(IDX[part, 'images'] + '.gz')).write_bytes(gzip.compress(idx_bytes(images)))
        (folder/IDX[part, 'labels']).write_bytes(idx_bytes(labels))
    return folder


@pytest.fixture
def tree(tmp_path, idx):
    "The same digits as a tree of PNG files"
    return shutil.copytree(find_digits(idx), tmp_path/'tree', ignore=shutil.ignore_patterns('complete.json'))


def same(a, b): return all(torch.equal(x, y) for x, y in zip(a[:4], b[:4]))


# what a folder holds

def test_sizes_of_twenty_thousand_files_count(tree):
    folder = tree/'training'/'0'
    for i in range(20_000 - sum(len(files) for _, _, files in os.walk(tree))): (folder/f'more-{i}.png').touch()
    before = stamp_of(tree)
    (folder/'more-0.png').write_bytes(b'longer')  # which the times of the folders don't tell
    assert stamp_of(tree) != before

def test_folders_that_are_no_digits_do_not_count(tree):
    before = stamp_of(tree)
    (tree/'training'/'10').mkdir()
    (tree/'training'/'10'/'0.png').touch()
    assert stamp_of(tree) == before


# sources

def test_both_forms_agree(idx, tree):
    images, labels = some_digits()
    assert same(read_digits(idx), read_digits(tree))
    assert torch.equal(read_digits(tree).train_x, torch.tensor(images)) and read_digits(tree).train_y.tolist() == labels.tolist()

def test_offline_digits():
    digits = read_digits('digits')
    assert digits.source == 'digits' and digits.train_x.shape == (1437, 28, 28) and digits.test_x.shape == (360, 28, 28)
    assert same(digits, read_digits('digits'))
    assert len(list(find_digits('digits').glob('training/*/*.png'))) == 1437
    assert repr(digits) == "Digits(source='digits', training=1,437, testing=360)"
    from sklearn.datasets import load_digits
    assert torch.equal(digits.test_x, resize_digits(torch.tensor(load_digits().images[1437:]/16).float()))  # 16 is the most ink that a pixel has there

def test_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match='no-such.*nor a folder that exists'): read_digits(tmp_path/'no-such')

def test_folder_without_images(tmp_path):
    (tmp_path/'empty').mkdir()
    with pytest.raises(FileNotFoundError, match='holds no digits: expected training'): read_digits(tmp_path/'empty')

def test_named_mnist_missing(monkeypatch):
    monkeypatch.setenv('DIGITLAB_MNIST', 'nowhere')
    for source in ('mnist', 'auto'):
        with pytest.raises(FileNotFoundError, match='DIGITLAB_MNIST names nowhere'): read_digits(source)

def test_relative_mnist_counts_from_a_folder_above(monkeypatch, tmp_path, idx):
    (tmp_path/'project'/'nbs').mkdir(parents=True)
    monkeypatch.chdir(tmp_path/'project'/'nbs')
    monkeypatch.setenv('DIGITLAB_MNIST', '../idx')
    assert locate('mnist') == ('mnist', idx.resolve())

def test_other_data_is_not_mnist(monkeypatch, idx):
    monkeypatch.setenv('DIGITLAB_MNIST', str(idx))
    with pytest.raises(ValueError, match="isn't MNIST: its training images"): read_digits('mnist')


# trees of PNG files

def test_stray_files_are_passed_over(tree):
    before = read_digits(tree)
    for name in ('.DS_Store', 'Thumbs.db', 'notes.txt', '._7.png'): (tree/'training'/'3'/name).write_bytes(b'stray')
    (tree/'testing'/'README').write_text('stray')
    assert same(before, read_digits(tree))

def test_missing_digit(tree):
    shutil.rmtree(tree/'testing'/'4')
    with pytest.raises(FileNotFoundError, match=r'testing/4 is missing'): read_digits(tree)

def test_digit_without_images(tree):
    for path in (tree/'testing'/'4').iterdir(): path.unlink()
    with pytest.raises(FileNotFoundError, match=r'testing/4 holds no PNG'): read_digits(tree)

@pytest.mark.parametrize('damage, message', [
    (lambda p: p.write_bytes(b'text'), "can't be decoded"), (lambda p: p.write_bytes(b''), "can't be decoded"),
    (lambda p: p.write_bytes(p.read_bytes()[:-30]), "can't be decoded"),
    (lambda p: Image.new('RGB', (28, 28)).save(p), '28x28 in mode RGB; expected 28x28 grey'),
    (lambda p: Image.new('L', (20, 28)).save(p), '20x28 in mode L; expected 28x28 grey')])
def test_bad_png_is_named(tree, damage, message):
    damage(tree/'training'/'7'/'17.png')
    with pytest.raises(ValueError, match=f'17.png.*{message}'): read_digits(tree)

def test_order_is_by_number(tree):
    names = list_images(tree, 'training')[3][1]
    assert names == ['3.png', '13.png', '23.png']


# IDX files

def truncate(path): path.write_bytes(path.read_bytes()[:-1])
def wrong_magic(path): path.write_bytes(b'\0\0\r' + path.read_bytes()[3:])
def longer(path): path.write_bytes(path.read_bytes() + b'\0')
def labels_beyond_nine(path): path.write_bytes(idx_bytes(np.full(30, 10, np.uint8)))
def fewer(path): path.write_bytes(idx_bytes(some_digits(29)[1]))

@pytest.mark.parametrize('damage, message', [
    (truncate, 'announces 30 bytes and holds 29'), (wrong_magic, 'starts with 00 00 0d 01'), (longer, 'holds more'),
    (labels_beyond_nine, 'labels from 0 to 9'), (fewer, '30 images.*29 labels'), (os.unlink, 'no IDX file of training labels')])
def test_bad_idx(idx, damage, message):
    damage(idx/IDX['training', 'labels'])
    with pytest.raises((ValueError, FileNotFoundError), match=message): read_digits(idx)

def test_truncated_gzip(idx):
    truncate(idx/(IDX['training', 'images'] + '.gz'))
    with pytest.raises(ValueError, match='train-images.*get it again'): read_digits(idx)

def test_gzip_that_swells(tmp_path):
    (tmp_path/'bomb').write_bytes(gzip.compress(idx_bytes(some_digits(2)[0]) + bytes(10**7)))
    with pytest.raises(ValueError, match='holds more'): read_idx(tmp_path/'bomb')
    (tmp_path/'claim').write_bytes(bytes([0, 0, 8, 3]) + b'\xff\xff\xff\xff\0\0\0\x1c\0\0\0\x1c')
    with pytest.raises(ValueError, match='announces 4,294,967,295 items'): read_idx(tmp_path/'claim')


# the cache

def cache_file(tmp_path): return next((tmp_path/'cache').glob('*.safetensors'))

def test_damaged_cache_is_rebuilt(idx, tmp_path):
    digits = read_digits(idx)
    sound = cache_file(tmp_path).read_bytes()
    rng = np.random.default_rng(0)
    damaged = [b'', sound[:100], sound[:-1], sound.replace(b'"stamp":"', b'"stamp":"0')]
    for at in rng.integers(0, len(sound), 100):
        flipped = bytearray(sound)
        flipped[at] ^= 1 << rng.integers(8)
        damaged.append(bytes(flipped))
    for content in damaged:
        cache_file(tmp_path).write_bytes(content)
        assert same(digits, read_digits(idx))

def test_second_read_decodes_nothing(idx, monkeypatch):
    first = read_digits(idx)
    monkeypatch.setattr(data, '_decode', None)
    assert same(first, read_digits(idx))

def test_changed_tree_is_read_anew(tree):
    before = read_digits(tree)
    Image.new('L', (28, 28), 9).save(tree/'training'/'3'/'3.png')
    assert read_digits(tree).train_x[3].unique().tolist() == [9]
    Image.new('L', (28, 28), 8).save(tree/'training'/'3'/'1000.png')
    assert len(read_digits(tree).train_y) == len(before.train_y) + 1

def test_damaged_tree_is_rebuilt(idx):
    tree = find_digits(idx)
    (tree/'training'/'3'/'3.png').unlink()
    assert (find_digits(idx)/'training'/'3'/'3.png').exists()

def test_unwritable_cache(idx, tmp_path, monkeypatch):
    (tmp_path/'file').write_text('')
    monkeypatch.setenv('DIGITLAB_CACHE', str(tmp_path/'file'/'cache'))
    with pytest.warns(UserWarning, match="can't be written") as warned: first = read_digits(idx)
    assert len({str(w.message) for w in warned}) == 1
    with pytest.warns(UserWarning): assert same(first, read_digits(idx)) and find_digits(idx).is_dir()

def test_unwritable_cache_is_said_once(idx, tmp_path):
    (tmp_path/'file').write_text('')
    code = f'from digitlab.data import read_digits, find_digits; [read_digits({str(idx)!r}) for _ in range(3)]; find_digits({str(idx)!r})'
    ran = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, env=os.environ | {'DIGITLAB_CACHE': str(tmp_path/'file'/'cache')})
    assert ran.returncode == 0 and ran.stderr.count('UserWarning') == 1, ran.stderr


PREPARE = 'import sys; from digitlab.data import *; d = read_digits(sys.argv[1]); t = find_digits(sys.argv[1]); print(d.train_x.sum().item(), len(list(t.glob("*/*/*.png"))))'

def test_processes_at_once(tmp_path):
    runs = [subprocess.Popen([sys.executable, '-c', PREPARE, 'digits'], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert len({run.communicate()[0] for run in runs}) == 1 and all(run.returncode == 0 for run in runs)
    assert not list((tmp_path/'cache').glob('.part-*'))

def test_killed_while_preparing(tmp_path):
    expected = subprocess.run([sys.executable, '-c', PREPARE, 'digits'], stdout=subprocess.PIPE, text=True).stdout
    shutil.rmtree(tmp_path/'cache')
    for delay in (0, .05, .1, .2, .4):
        run = subprocess.Popen([sys.executable, '-c', PREPARE, 'digits'], stdout=subprocess.DEVNULL)
        while run.poll() is None and not (tmp_path/'cache').exists(): time.sleep(.005)
        time.sleep(delay)
        run.kill(); run.wait()
    assert subprocess.run([sys.executable, '-c', PREPARE, 'digits'], stdout=subprocess.PIPE, text=True).stdout == expected

def test_old_leftovers_are_swept(idx, tmp_path):
    left = tmp_path/'cache'/'.part-left'
    left.mkdir(parents=True)
    os.utime(left, (0, 0))
    read_digits(idx)
    assert not left.exists()

@pytest.mark.parametrize('seconds, stays', [(3500, True), (3700, False)])
def test_leftovers_get_an_hour(tmp_path, seconds, stays):
    "For another process may still be writing there"
    left = tmp_path/'.part-left'
    left.mkdir()
    os.utime(left, (time.time() - seconds,)*2)
    with write_aside(tmp_path/'file') as part: part.write_text('whole')
    assert left.exists() == stays and (tmp_path/'file').read_text() == 'whole'

def test_two_give_the_same_name(tmp_path, monkeypatch):
    "The other process is quicker by a moment: the folder is there when ours shall get its name"
    def refused(source, to):
        monkeypatch.undo()
        to.mkdir()
        (to/'theirs').touch()
        raise OSError(39, 'Directory not empty')
    monkeypatch.setattr(os, 'replace', refused)
    with write_aside(tmp_path/'tree') as part:
        part.mkdir()
        (part/'ours').touch()
    assert os.listdir(tmp_path) == ['tree'] and os.listdir(tmp_path/'tree') == ['ours']

def test_name_that_can_not_be_given(tmp_path, monkeypatch):
    def refused(source, to): raise OSError(13, 'Permission denied')
    monkeypatch.setattr(os, 'replace', refused)
    with pytest.raises(OSError, match='Permission denied'), write_aside(tmp_path/'file') as part: part.write_text('whole')
    assert os.listdir(tmp_path) == []


# the network

@pytest.fixture
def server():
    "Serves `server.reply(handler)` on the loopback"
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self): server.reply(self)
        do_HEAD = do_GET
        def log_message(self, *args): pass
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    server.url = f'http://127.0.0.1:{server.server_port}/mnist.tgz'
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()

def sends(content, announced=None):
    def reply(handler):
        handler.send_response(200)
        handler.send_header('Content-Length', str(announced or len(content)))
        handler.end_headers()
        if handler.command == 'GET': handler.wfile.write(content)
    return reply

def archive(*members):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode='w:gz') as tar:
        for name, content, kind in members:
            info = tarfile.TarInfo(name)
            info.size, info.type, info.linkname = len(content), kind, '/etc/passwd'
            tar.addfile(info, io.BytesIO(content))
    return packed.getvalue()

PNG = io.BytesIO()
Image.new('L', (28, 28)).save(PNG, 'png')
MEMBERS = [(f'mnist_png/{part}/{d}/{d}.png', PNG.getvalue(), tarfile.REGTYPE) for part in ('training', 'testing') for d in range(10)]
OTHER = archive(*MEMBERS)
LARGE = archive(*MEMBERS, ('mnist_png/training/1/2.png', bytes(2**16 + 1), tarfile.REGTYPE))  # would be no PNG, if it were unpacked
CLIMBS = archive(('../../training/../../climbed.png', PNG.getvalue(), tarfile.REGTYPE), ('mnist_png/training/1/../../../../1.png', PNG.getvalue(), tarfile.REGTYPE))
LINK = archive(('mnist_png/training/1/1.png', b'', tarfile.SYMTYPE))
LONG = tarfile.TarInfo('mnist_png/long')
LONG.size = 2**28
BOMB = gzip.compress(LONG.tobuf()) + gzip.compress(bytes(2**24))*17  # 272 MiB from a few KB

def test_named_refusal(server, tmp_path):
    server.reply = lambda handler: handler.send_error(403)
    with pytest.raises(ConnectionError, match=rf"{server.url}: .*403.*DIGITLAB_MNIST name a folder.*source='digits'"): fetch_mnist(server.url)

@pytest.mark.parametrize('content, announced, reason', [
    (OTHER, None, "isn't MNIST"), (OTHER[:len(OTHER)//2], len(OTHER), ''), (b'not an archive', None, ''), (CLIMBS, None, 'missing'), (LINK, None, 'missing'),
    (LARGE, None, "isn't MNIST"), (BOMB, None, 'more than 256 MiB')], ids=['other data', 'broken off', 'no archive', 'climbs out', 'link', 'large member', 'bomb'])
def test_bad_download_leaves_nothing(server, tmp_path, content, announced, reason):
    server.reply = sends(content, announced)
    before = {p for p in tmp_path.rglob('*')}
    with pytest.raises(ConnectionError, match=f"can't be had from {re.escape(server.url)}: .*{reason}"): fetch_mnist(server.url, timeout=2)
    assert {p for p in tmp_path.rglob('*')} - before <= {tmp_path/'cache'}

def test_a_stream_gives_so_much_and_no_more():
    stream = data._AtMost(io.BytesIO(bytes(11)), 10)
    assert len(stream.read(6)) == 6 and len(stream.read(4)) == 4
    with pytest.raises(ValueError, match='more than'): stream.read(1)

def test_stalled_download(server):
    server.reply = lambda handler: time.sleep(3)
    start = time.time()
    with pytest.raises(ConnectionError, match='timed out'): fetch_mnist(server.url, timeout=.5)
    assert time.time() - start < 3

def test_download_that_is_mnist(server, monkeypatch, idx):
    "The whole way of a good archive, with the fingerprints of the archive's own digits in place of MNIST's"
    import hashlib
    images, labels = some_digits()
    sums = {(part, what): hashlib.sha256(idx_bytes(a)).hexdigest() for part in data.MNIST_COUNTS for what, a in (('images', images), ('labels', labels))}
    monkeypatch.setattr(data, 'MNIST_SHA256', sums)
    packed, tree = io.BytesIO(), find_digits(idx)
    with tarfile.open(fileobj=packed, mode='w:gz') as tar: tar.add(tree, 'mnist_png')
    server.reply = sends(packed.getvalue())
    monkeypatch.setattr(data, 'MNIST_URL', server.url)
    assert data._answers(server.url)
    found = fetch_mnist(server.url)
    assert found.name == 'mnist_png' and locate('auto') == ('mnist', found)
    assert read_digits('auto').source == 'mnist' and same(read_digits('auto'), read_digits(idx))

def test_auto_without_network(server, monkeypatch, capsys):
    asked = []
    server.reply = lambda handler: (asked.append(1), handler.send_error(503))
    monkeypatch.setattr(data, 'MNIST_URL', server.url)
    assert read_digits('auto').source == read_digits('auto').source == 'digits'
    assert len(asked) == 1  # remembered
    assert capsys.readouterr().err.count("MNIST isn't at hand") == 2
    with pytest.raises(ConnectionError): read_digits('auto' and 'mnist')

def test_auto_decides_in_time(server, monkeypatch):
    server.reply = lambda handler: time.sleep(30)
    monkeypatch.setattr(data, 'MNIST_URL', server.url)
    start = time.time()
    assert locate('auto') == ('digits', None)
    assert time.time() - start < 15

def test_import_is_light():
    code = 'import sys, time; t = time.perf_counter(); import digitlab; print(time.perf_counter() - t < .1, "torch" in sys.modules)'
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True).stdout == 'True False\n'
    code = 'import sys, digitlab.data; print([m for m in ("fastai", "matplotlib", "pandas", "sklearn") if m in sys.modules])'
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True).stdout == '[]\n'


# records

def test_record_keeps_what_the_report_needs(monkeypatch):
    import pandas as pd
    shown = []
    monkeypatch.setattr('IPython.display.display', lambda data, raw: shown.append(data))
    record('epochs', 3)
    record('time', 1.5, unit='s', varies=True)
    record('table', pd.DataFrame({'images': [5, 6]}).rename_axis('digit'))
    assert [data['text/plain'] for data in shown[:2]] == ['epochs: 3', 'time: 1.5000 s']
    kept = [data['application/vnd.digitlab.result+json'] for data in shown]
    assert kept[1] == dict(name='time', value=1.5, unit='s', varies=True)
    assert kept[2]['value'] == dict(columns=['digit', 'images'], data=[[0, 5], [1, 6]])

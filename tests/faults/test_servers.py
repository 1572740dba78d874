"A server that breaks off, stalls, and sends the wrong bytes or a bad archive"
import gzip, hashlib, http.server, io, json, os, struct, tarfile, threading, time, zlib

import numpy as np
import pytest
from PIL import Image

from digitlab import data
from digitlab.data import fetch_mnist, idx_bytes, read_digits

from harm import Python, final_names, slow


@pytest.fixture
def server():
    "Answers on the loopback by `server.reply(handler)`"
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            try: server.reply(self)
            except OSError: pass  # the other side has gone
        do_HEAD = do_GET
        def log_message(self, *args): pass
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    server.daemon_threads, server.url, server.asked = True, f'http://127.0.0.1:{server.server_port}/mnist.tgz', []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()

def head(handler, length=None):
    handler.send_response(200)
    if length is not None: handler.send_header('Content-Length', str(length))
    handler.end_headers()
    return handler.command == 'GET'

def sends(content, length=None):
    def reply(handler):
        if head(handler, len(content) if length is None else length): handler.wfile.write(content)
    return reply

def member(name, content=b'', kind=tarfile.REGTYPE, link='', size=None):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(content) if size is None else size
    return info.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512)

def archive(*members): return gzip.compress(b''.join(members) + bytes(1024), 1)

def picture(i):
    grey = np.zeros((28, 28), np.uint8)
    grey[6:22, 8:20] = np.random.default_rng(i).integers(0, 256, (16, 12))
    packed = io.BytesIO()
    Image.fromarray(grey).save(packed, 'PNG')
    return grey, packed.getvalue()

def good_members():
    "Members of an archive of 20 pictures, and the fingerprints that make it count as MNIST"
    images = [picture(i) for i in range(10)]
    members = [member(f'mnist_png/{part}/{i}/{i}.png', png) for part in data.MNIST_COUNTS for i, (_, png) in enumerate(images)]
    packed = {'images': idx_bytes(np.stack([grey for grey, _ in images])), 'labels': idx_bytes(np.arange(10, dtype=np.uint8))}
    return members, {(part, what): hashlib.sha256(b).hexdigest() for part in data.MNIST_COUNTS for what, b in packed.items()}

@pytest.fixture
def outside(tmp_path):
    "A file that no archive may change, beside everything that lies around the cache; checked at the end"
    (tmp_path/'outside').write_text('untouched')
    before = {p for p in tmp_path.rglob('*')} | {tmp_path/'cache'}
    yield tmp_path/'outside'
    assert (tmp_path/'outside').read_text() == 'untouched'
    assert {p for p in tmp_path.rglob('*')} - before <= {p for p in (tmp_path/'cache').rglob('*')}

def refused(server, tmp_path, reason='', timeout=5):
    with pytest.raises(ConnectionError, match=f"can't be had from {server.url}: (?s:.*){reason}"): fetch_mnist(server.url, timeout=timeout)
    assert not (tmp_path/'cache').exists() or os.listdir(tmp_path/'cache') == []


# connections

@pytest.mark.parametrize('share', [0, .01, .3, .6, .999])
@pytest.mark.parametrize('announced', [True, False])
def test_breaks_off(server, tmp_path, share, announced):
    whole = archive(*good_members()[0])
    def reply(handler):
        if head(handler, len(whole) if announced else None): handler.wfile.write(whole[:int(len(whole)*share)])
    server.reply = reply
    refused(server, tmp_path)

@pytest.mark.parametrize('after', [0, 1, 2000])
def test_stalls(server, tmp_path, after):
    "Before the answer, in its first byte, and in the middle"
    end = threading.Event()
    def reply(handler):
        if after and head(handler, 5000): handler.wfile.write(archive(*good_members()[0])[:after])
        end.wait(20)
    server.reply, began = reply, time.monotonic()
    refused(server, tmp_path, 'timed out', timeout=.5)
    end.set()
    assert time.monotonic() - began < 10

def test_closes_at_once(server, tmp_path):
    server.reply = lambda handler: handler.connection.close()
    refused(server, tmp_path)

@pytest.mark.parametrize('content', [b'', b'not http at all\r\n\r\n', b'HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nx',
                                     b'HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n', b'HTTP/1.1 200 OK\r\n' + b'X: y\r\n'*200 + b'\r\n'],
                         ids=['nothing', 'no http', 'no number', 'redirected to a file', 'many headers'])
def test_answers_that_are_none(server, tmp_path, content):
    server.reply = lambda handler: handler.wfile.write(content)
    refused(server, tmp_path)

def test_redirected_in_circles(server, tmp_path):
    def reply(handler):
        handler.send_response(302)
        handler.send_header('Location', server.url)
        handler.end_headers()
    server.reply = reply
    refused(server, tmp_path)


# archives

@pytest.mark.parametrize('content', [b'', b'<html>Sign in to the network</html>', bytes(5000), b'\x1f\x8b' + bytes(100), gzip.compress(b'no tar' * 500),
                                     archive(), gzip.compress(bytes(10**6))], ids=['empty', 'page', 'zeros', 'gzip head', 'no tar', 'no members', 'zeros packed'])
def test_wrong_bytes(server, tmp_path, content):
    server.reply = sends(content)
    refused(server, tmp_path)

@pytest.mark.parametrize('share', [.2, .5, .9])
def test_a_bit_flipped_on_the_way(server, tmp_path, monkeypatch, share):
    members, sums = good_members()
    monkeypatch.setattr(data, 'MNIST_SHA256', sums)
    content = bytearray(archive(*members))
    content[int(len(content)*share)] ^= 4
    server.reply = sends(bytes(content))
    refused(server, tmp_path)

def evil(kind, outside):
    png = picture(0)[1]
    return {
        'climbs': [member('mnist_png/training/1/../../../../outside', png), member('../../training/1/1.png', png), member('../../../outside', b'harm')],
        'absolute': [member(str(outside), b'harm'), member('/training/1/1.png', png)],
        'symlink to a folder': [member('mnist_png/training/1', kind=tarfile.SYMTYPE, link=str(outside.parent)), member('mnist_png/training/1/1.png', png)],
        'symlink to a file': [member('mnist_png/training/1/1.png', kind=tarfile.SYMTYPE, link=str(outside)), member('mnist_png/training/1/1.png', b'harm')],
        'hard link': [member('mnist_png/training/1/1.png', kind=tarfile.LNKTYPE, link=str(outside)), member('mnist_png/training/1/1.png', b'harm')],
        'device': [member('mnist_png/training/1/1.png', kind=tarfile.CHRTYPE), member('mnist_png/training/1/2.png', kind=tarfile.FIFOTYPE)],
        'picture of a bomb': [member('mnist_png/training/1/1.png', bomb_png())],
        'names without end': [member('a/'*60 + f'training/1/{i}.png', png) for i in range(50)]}[kind]

def bomb_png():
    "A few bytes that announce 3.6 milliards of pixels"
    def chunk(kind, b): return struct.pack('>I', len(b)) + kind + b + struct.pack('>I', zlib.crc32(kind + b))
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', 60_000, 60_000, 8, 0, 0, 0, 0)) + chunk(b'IDAT', zlib.compress(bytes(1000))) + chunk(b'IEND', b'')

@pytest.mark.parametrize('kind', ['climbs', 'absolute', 'symlink to a folder', 'symlink to a file', 'hard link', 'device', 'picture of a bomb', 'names without end'])
def test_evil_archive(server, tmp_path, outside, kind):
    "Alone, and before a sound archive: nothing outside is touched, and nothing gets a name"
    server.reply = sends(archive(*evil(kind, outside)))
    refused(server, tmp_path)
    server.reply = sends(archive(*evil(kind, outside), *good_members()[0]))
    refused(server, tmp_path)

FETCH = '''
import resource, sys
from digitlab.data import fetch_mnist
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try: fetch_mnist(sys.argv[1])
except ConnectionError as e: print('unpacks to more than 256 MiB' in str(e), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)//1024)
'''

def zeros(megabytes):
    "A gzip file of so many zeros, without holding them"
    squeeze = zlib.compressobj(9, wbits=31)
    def pack(first):
        yield squeeze.compress(first)
        for _ in range(megabytes): yield squeeze.compress(bytes(2**20))
        yield squeeze.flush()
    return lambda first: b''.join(pack(first))

@slow
@pytest.mark.parametrize('kind', ['file', 'long name', 'pax header'])
def test_bomb(server, tmp_path, outside, kind):
    "A small archive that unpacks to 2 GiB, as a file and as a header that tarfile holds in memory: refused, with less than 1 GiB"
    type = {'file': tarfile.REGTYPE, 'long name': tarfile.GNUTYPE_LONGNAME, 'pax header': tarfile.XHDTYPE}[kind]
    bomb = zeros(2048)(member('mnist_png/training/1/1.png', kind=type, size=2**31))
    assert len(bomb) < 2**31/500
    server.reply = sends(bomb)
    status, out, err = Python(FETCH, server.url).wait()
    said, megabytes = out.split()
    assert (status, said) == (0, 'True') and int(megabytes) < 1024, (out, err)
    assert os.listdir(tmp_path/'cache') == []

@slow
def test_many_small_members(server, tmp_path, outside):
    "More files than any disk wants: the archive ends at the limit all the same"
    one = member('mnist_png/training/1/1.png')*2048
    squeeze = zlib.compressobj(1, wbits=31)
    server.reply = sends(b''.join([*(squeeze.compress(one) for _ in range(300)), squeeze.flush()]))
    status, out, err = Python(FETCH, server.url).wait()
    said, megabytes = out.split()
    assert (status, said) == (0, 'True') and int(megabytes) < 1024, (out, err)


# and then it works

def test_after_every_fault_a_sound_archive_is_taken(server, tmp_path, monkeypatch):
    members, sums = good_members()
    monkeypatch.setattr(data, 'MNIST_SHA256', sums)
    for content in (b'', archive(*members)[:500], archive(*members[:-1]), archive(*evil('climbs', tmp_path/'outside'))):
        server.reply = sends(content)
        refused(server, tmp_path)
    server.reply = sends(archive(*members))
    assert fetch_mnist(server.url) == tmp_path/'cache'/'mnist_png'
    assert final_names(tmp_path/'cache') == ['mnist_png'] and read_digits('mnist').source == 'mnist'

def test_what_another_process_fetched_meanwhile_stays(server, tmp_path, monkeypatch):
    members, sums = good_members()
    monkeypatch.setattr(data, 'MNIST_SHA256', sums)
    note = tmp_path/'cache'/'mnist_png'/'from another'
    def reply(handler):
        if not note.exists():
            note.parent.mkdir(parents=True)
            note.write_text('')
        sends(archive(*members))(handler)
    server.reply = reply
    assert fetch_mnist(server.url) == note.parent and note.exists()  # somebody may be reading it
    assert fetch_mnist(server.url) == note.parent and not note.exists()  # but what was there before is replaced

TOGETHER = '''
import json, sys
from digitlab import data
data.MNIST_SHA256 = {tuple(key): value for key, value in json.loads(sys.argv[2])}
data.MNIST_URL = sys.argv[1]
data.fetch_mnist.__defaults__ = (sys.argv[1], 10)
digits = data.read_digits('mnist')
print(digits.source, digits.train_x.sum().item(), digits.test_y.tolist())
'''

def test_eight_processes_fetch_at_once(server, tmp_path):
    "None takes away what another has fetched and reads"
    members, sums = good_members()
    server.reply = sends(archive(*members))
    runs = [Python(TOGETHER, server.url, json.dumps(list(sums.items()))) for _ in range(8)]
    ends = [run.wait() for run in runs]
    assert {status for status, _, _ in ends} == {0}, ends
    assert len({out for _, out, _ in ends}) == 1 and ends[0][1].startswith('mnist ')
    assert not list((tmp_path/'cache').glob('.part-*'))

"Disks that are full, and homes that can't be written"
import errno, os, subprocess, sys

import pytest

from harm import COMMAND, PREPARE, Python, assert_prepared, final_names, prepare, slow, small_disk, unprivileged, write_nb

READ = 'import hashlib; from digitlab.data import read_digits; d = read_digits("digits"); print(hashlib.sha256(b"".join(t.numpy().tobytes() for t in d[:4])).hexdigest())'
TREE = 'from digitlab.data import find_digits; print(find_digits("digits"))'
AUTO = 'from digitlab import data; data.MNIST_URL = "http://127.0.0.1:9/"; print(data.read_digits("auto").source)'


@pytest.mark.parametrize('kilobytes', [4, pytest.param(64, marks=slow), pytest.param(1024, marks=slow)])
def test_full_disk(tmp_path, expected, kilobytes):
    "The digits come all the same, the tree fails by name, nothing half is left, and with room the next call works"
    with small_disk(tmp_path/'cache', kilobytes) as cache:
        read, tree = (Python(code).wait() for code in (READ, TREE))
        assert read[0] == 0 and read[1].split() == expected.split()[:1], read[2]
        assert "can't be written" in read[2] and 'digits are decoded anew' in read[2]
        assert tree[0] == 1 and os.strerror(errno.ENOSPC) in tree[2].splitlines()[-1]
        assert final_names(cache) == [] and not list(cache.glob('.part-*'))
        subprocess.run(['mount', '-o', 'remount,size=100m', cache], check=True)
        assert_prepared(prepare(), expected)
        assert final_names(cache) == ['digits-png', 'digits.safetensors']


def test_disk_that_takes_no_large_file(tmp_path, expected):
    "The same without a mount: a limit to the size of each file"
    read = Python(READ, most=100_000).wait()
    assert read[0] == 0 and read[1].split() == expected.split()[:1], read[2]
    assert os.strerror(errno.EFBIG) in read[2]
    assert final_names(tmp_path/'cache') == [] and not list((tmp_path/'cache').glob('.part-*'))
    assert_prepared(prepare(), expected)


@slow
def test_disk_that_takes_no_picture(tmp_path, expected):
    short = f'try:\n    {TREE}\nexcept OSError as e: print(e.strerror)'  # for what it prints goes to a file too
    assert Python(short, most=200).wait()[:2] == (0, os.strerror(errno.EFBIG) + '\n')
    assert final_names(tmp_path/'cache') == [] and not list((tmp_path/'cache').glob('.part-*'))
    assert_prepared(prepare(), expected)


@slow
def test_auto_on_a_full_disk(tmp_path):
    "That MNIST can't be had is said, though it can't be noted"
    with small_disk(tmp_path/'cache', 4) as cache:
        (cache/'filler').write_bytes(bytes(4096))
        done = Python(AUTO).wait()
        assert done[0] == 0 and done[1] == 'digits\n', done[2]
        assert "MNIST isn't at hand (http://127.0.0.1:9/ gives no answer)" in done[2]


@pytest.fixture
def locked(tmp_path, monkeypatch):
    "A home that can be read only, and words that make it so for root too"
    monkeypatch.delenv('DIGITLAB_CACHE')
    words = unprivileged()
    os.chmod(tmp_path/'home', 0o555)
    yield words
    os.chmod(tmp_path/'home', 0o755)

@slow
def test_home_that_cannot_be_written(tmp_path, expected, locked):
    done = subprocess.run([*locked, sys.executable, '-c', PREPARE, 'digits'], capture_output=True, text=True, timeout=200)
    assert (done.returncode, done.stdout) == (0, expected), done.stderr
    assert "can't be written (Permission denied)" in done.stderr and 'let DIGITLAB_CACHE name another folder' in done.stderr
    assert not list((tmp_path/'home').iterdir())
    os.chmod(tmp_path/'home', 0o755)
    assert_prepared(prepare(), expected)
    assert final_names(tmp_path/'home'/'.cache'/'digitlab') == ['digits-png', 'digits.safetensors']

def test_home_that_is_no_place_for_files(expected, monkeypatch):
    monkeypatch.delenv('DIGITLAB_CACHE')
    for home in ('/proc', '/dev/null', '/proc/no/such/home'):
        if not os.path.exists('/proc'): pytest.skip('there is no /proc here')
        done = prepare(HOME=home)
        assert_prepared(done, expected)
        assert "can't be written" in done[2]

@slow
def test_run_with_a_home_that_cannot_be_written(tmp_path, locked):
    (tmp_path/'nbs').mkdir()
    write_nb(tmp_path/'nbs'/'01_a.ipynb', 'print(size)')
    done = subprocess.run([*locked, *COMMAND, 'run'], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and '1 of 1 notebooks passed' in done.stdout, done.stdout + done.stderr
    assert not list((tmp_path/'home').iterdir())

@slow
def test_run_into_a_folder_that_cannot_be_written(tmp_path, locked):
    (tmp_path/'nbs').mkdir()
    write_nb(tmp_path/'nbs'/'01_a.ipynb', 'print(size)')
    done = subprocess.run([*locked, *COMMAND, 'run', '--out', tmp_path/'home'/'runs'], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and done.stderr.startswith('digitlab: ') and 'Permission denied' in done.stderr and 'Traceback' not in done.stderr

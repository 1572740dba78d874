"What docs/security.md promises: no code comes out of data, and only the places that it names are written to"
import ast, os, pickle, re, subprocess
from pathlib import Path

import pytest
from PIL import Image

from digitlab.data import read_digits, read_idx, read_pngs
from digitlab.predict import load_model, read_image

from harm import COMMAND, Python, slow, write_nb

TESTS = Path(__file__).parents[1]
LIBRARY = Path(read_digits.__code__.co_filename).parent


class Planted:
    "A pickle of it makes a file when it is loaded"
    def __init__(self, path): self.path = path
    def __reduce__(self): return os.mkdir, (str(self.path),)

def test_a_pickle_is_never_loaded(tmp_path):
    "It would leave a trace; it lies under every name that the library reads"
    trace, planted = tmp_path/'trace', pickle.dumps(Planted(tmp_path/'trace'))
    pickle.loads(planted)
    assert trace.is_dir()
    trace.rmdir()
    digits = read_digits('digits')
    for cache in (tmp_path/'cache').iterdir(): cache.write_bytes(planted)
    assert (read_digits('digits').train_x == digits.train_x).all()
    bad = tmp_path/'bad'
    bad.write_bytes(planted)
    for reader in (read_idx, lambda path: read_pngs([path]), read_image, load_model):
        with pytest.raises(ValueError, match='bad'): reader(bad)
    assert not trace.exists()

def test_postscript_is_never_run(tmp_path):
    "Pillow gives EPS pictures to Ghostscript, which runs them as a program; here a stand-in for it would leave a trace"
    (tmp_path/'bin').mkdir()
    (tmp_path/'bin'/'gs').write_text(f'#!/bin/sh\n: > {tmp_path}/trace\n')
    (tmp_path/'bin'/'gs').chmod(0o755)
    Image.new('L', (40, 40), 200).save(tmp_path/'seven.png', 'EPS')
    code = 'import sys\nfrom digitlab.predict import read_image\ntry: read_image(sys.argv[1])\nexcept ValueError as e: print(e)'
    status, out, err = Python(code, tmp_path/'seven.png', PATH=f'{tmp_path}/bin:{os.environ["PATH"]}').wait()
    assert not (tmp_path/'trace').exists(), 'Ghostscript was started'
    assert status == 0 and 'seven.png' in out, err

def names(path):
    "What a module imports and what it calls"
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import): yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom): yield node.module or ''
        if isinstance(node, ast.Call): yield ast.unparse(node.func)

@pytest.mark.parametrize('path', sorted(LIBRARY.glob('*.py')), ids=lambda path: path.stem)
def test_no_module_can_load_code(path):
    found = set(names(path)) & {'pickle', 'marshal', 'shelve', 'dill', 'joblib', 'cloudpickle', 'yaml', 'eval', 'exec', 'compile', '__import__', 'os.system',
                                'torch.load', 'np.load', 'pd.read_pickle', 'load_learner', 'torch.hub.load', 'import_module'}
    assert not found
    assert not [n for n in names(path) if n.endswith(('.extractall', '.extract'))]
    if path.stem != 'data': assert not set(names(path)) & {'urllib.request', 'urlopen', 'requests', 'socket', 'http.client', 'untar_data'}
    if path.stem != 'run': assert 'subprocess' not in set(names(path))


WRITES = '''
import os, sys
places = set()
def hook(event, args):
    if event == 'open' and isinstance(args[0], (str, bytes)) and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT): places.add(os.fsdecode(args[0]))
    if event in ('os.mkdir', 'os.remove', 'os.rmdir', 'os.symlink', 'os.chmod'): places.add(os.fsdecode(args[0]))
    if event == 'os.rename': places.update(map(os.fsdecode, args[:2]))
    if event in ('socket.connect', 'subprocess.Popen', 'os.system', 'os.exec', 'os.posix_spawn'): places.add(event)
sys.addaudithook(hook)
from digitlab.data import find_digits, read_digits
read_digits('digits'); find_digits('digits'); read_digits('digits')
sys.stdout.write('\\n'.join(sorted(places)))
'''

def test_only_the_cache_is_written(tmp_path):
    "Every file that is opened to write, made, renamed or removed lies in the cache; no connection is made and no program started"
    status, out, err = Python(WRITES).wait()
    places = {p for p in out.splitlines() if not p.startswith('/dev/')}
    assert status == 0 and len(places) > 1000, err
    assert not [p for p in places if not p.startswith(str(tmp_path/'cache')) and not p.isdecimal() and '/' in p], places
    assert not {p for p in places if p.startswith(('socket', 'subprocess', 'os.'))}
    assert list((tmp_path/'home').iterdir()) == []

@slow
def test_a_run_writes_to_its_folder_and_to_jupyters_places(tmp_path):
    (tmp_path/'project'/'nbs').mkdir(parents=True)
    nb = write_nb(tmp_path/'project'/'nbs'/'01_a.ipynb', 'print(size)')
    before = nb.read_bytes()
    done = subprocess.run([*COMMAND, 'run', '--out', tmp_path/'out'], cwd=tmp_path/'project', capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert nb.read_bytes() == before and sorted(p.name for p in (tmp_path/'project').rglob('*')) == ['01_a.ipynb', 'nbs']
    folder = (tmp_path/'out'/'latest').resolve()
    assert sorted(os.listdir(folder)) == ['01_a.html', '01_a.ipynb', 'report.html', 'results.json']
    assert {p.name for p in (tmp_path/'home').iterdir()} <= {'.local', '.ipython', '.cache', '.jupyter', '.config'}


def test_the_security_page_names_tests_that_are_there():
    page = (TESTS.parent/'docs'/'security.md').read_text(encoding='utf-8')
    named = re.findall(r'`(?:(?:faults/)?test_\w+\.py::)?test_\w+(?:\.py)?`', page)
    assert len(named) >= 20
    files = {path.name: path.read_text(encoding='utf-8') for path in TESTS.rglob('test_*.py')}
    for name in named:
        file, _, test = name.strip('`').rpartition('::')
        if test.endswith('.py'): assert test in files
        else: assert any(f'def {test}(' in text for path, text in files.items() if file.rpartition('/')[2] in ('', path)), name

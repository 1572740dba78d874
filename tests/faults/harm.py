"What the tests of this folder share: processes to harm, and the state of the disk after it"
import atexit, hashlib, json, os, re, shutil, signal, subprocess, sys, tempfile
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

import psutil, pytest
from nbformat import write as write_notebook
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

slow = pytest.mark.slow
COMMAND = [sys.executable, '-c', 'import sys; from digitlab.run import main; sys.exit(main())']
PREPARE = '''
import hashlib, sys
from digitlab.data import find_digits, read_digits
digits, tree = read_digits(sys.argv[1]), find_digits(sys.argv[1])
print(hashlib.sha256(b''.join(t.numpy().tobytes() for t in digits[:4])).hexdigest(), digits.source)
print(hashlib.sha256(b''.join(p.relative_to(tree).as_posix().encode() + p.read_bytes() for p in sorted(tree.glob('*/*/*.png')))).hexdigest(), len(list(tree.glob('*/*/*.png'))))'''


class Zygote:
    "Starts processes that run Python code with the library imported; see zygote.py"
    def __init__(self):
        self.process = subprocess.Popen([sys.executable, Path(__file__).with_name('zygote.py')], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == 'ready\n'
    def ask(self, **order):
        print(json.dumps(order), file=self.process.stdin, flush=True)
        return int(self.process.stdout.readline())

@lru_cache
def zygote():
    kept = Zygote()
    atexit.register(kept.process.stdin.close)
    return kept

class Python:
    "Code that runs in a process of its own, in a session of its own"
    def __init__(self, code, *words, most=0, **env):
        "`most` bytes for each file that it writes, and settings beside those of the tests"
        self.files, self.status = [Path(tempfile.mkstemp(prefix='digitlab-faults-')[1]) for _ in range(2)], None
        self.pid = zygote().ask(code=code, words=list(map(str, words)), env=dict(os.environ) | env, out=str(self.files[0]), err=str(self.files[1]), most=most)
    def kill(self):
        with suppress(ProcessLookupError): os.killpg(self.pid, signal.SIGKILL)
        with suppress(ProcessLookupError): os.kill(self.pid, signal.SIGKILL)  # before it has a session of its own
    def ended(self): return not psutil.pid_exists(self.pid) or psutil.Process(self.pid).status() == psutil.STATUS_ZOMBIE
    def wait(self):
        "Exit status, output and errors"
        if self.status is None:
            self.status = zygote().ask(wait=self.pid)
            self.out, self.err = (file.read_text() for file in self.files)
            for file in self.files: file.unlink()
        return self.status, self.out, self.err

def prepare(source='digits', **settings):
    "Digits and PNG tree are made, or found, by a process of its own; what it prints is the checksum of both"
    return Python(PREPARE, source, **settings).wait()

def assert_prepared(done, expected): assert done[:2] == (0, expected), done[2]

def final_names(cache): return sorted(p.name for p in Path(cache).iterdir() if not p.name.startswith('.part-')) if Path(cache).exists() else []

def write_nb(path, *code, tag='parameters'):
    "A notebook with a title, a parameters cell and code"
    cells = [new_markdown_cell(f'# About {path.stem}'), new_code_cell('size = 1  # of the work', metadata={'tags': [tag]} if tag else {}), *map(new_code_cell, code)]
    write_notebook(new_notebook(cells=cells), path)
    return path

def assert_whole(out):
    "What has a final name in a folder of runs is a whole run"
    runs = [p for p in Path(out).iterdir() if not p.name.startswith('.') and not p.is_symlink()]
    for folder in runs:
        results = json.loads((folder/'results.json').read_text())
        assert (folder/'report.html').read_text().rstrip().endswith('</html>')
        for one in results['notebooks']:
            if one['executed']: json.loads((folder/one['executed']).read_text())
        assert not [p for p in folder.rglob('*') if re.search(r'\.\d+$', p.name)]
    return runs

@contextmanager
def small_disk(folder, kilobytes):
    "A disk of its own at `folder`; the test is skipped where mounting isn't allowed"
    folder.mkdir(exist_ok=True)
    done = subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={kilobytes}k', 'tmpfs', folder], capture_output=True, text=True) if shutil.which('mount') else None
    if done is None or done.returncode: pytest.skip(f'no disk can be mounted here: {done.stderr.strip() if done else "there is no mount"}')
    try: yield folder
    finally: subprocess.run(['umount', '-l', folder], check=True)

def unprivileged():
    "Words before a command so that permission bits hold for it, for root too"
    if os.geteuid(): return []
    words = ['setpriv', '--bounding-set=-dac_override,-dac_read_search', '--inh-caps=-dac_override,-dac_read_search']
    if not shutil.which('setpriv') or subprocess.run([*words, 'true'], capture_output=True).returncode:
        pytest.skip('root may write everywhere, and setpriv, which could take that right away, is not there or not allowed')
    return words

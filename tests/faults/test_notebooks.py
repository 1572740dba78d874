"Notebooks that hang, die, shout, or were edited; beside each a sound one, which has to pass"
import json, subprocess, time

import psutil
import pytest

from harm import COMMAND, assert_whole, slow, write_nb

FAULTS = {  # code, status, what is said
    'hangs': ('while True: pass', 'TimeoutError: not done after'),
    'hangs deaf': ('import signal, time\nfor s in (signal.SIGINT, signal.SIGTERM): signal.signal(s, signal.SIG_IGN)\ntime.sleep(3600)', 'TimeoutError: not done after'),
    'exits': ('import os\nos._exit(0)', 'DeadKernelError: Kernel died'),
    'is killed': ('import os, signal\nos.kill(os.getpid(), signal.SIGKILL)', 'DeadKernelError: Kernel died'),
    'runs out of memory': ('import resource\nresource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))\nx = bytes(2**31)', 'MemoryError'),
    'prints 100 MB': ('for _ in range(100): print("la" * 500_000)', None),
    'prints 100 MB of lines': ('import sys\nfor _ in range(1000): sys.stdout.write("la\\n" * 33_000)', None)}

def digitlab(*words, cwd): return subprocess.run([*COMMAND, *map(str, words)], cwd=cwd, capture_output=True, text=True, timeout=400)


@slow
@pytest.mark.parametrize('fault', FAULTS)
def test_fault_of_a_notebook(tmp_path, fault):
    code, said = FAULTS[fault]
    (tmp_path/'nbs').mkdir()
    write_nb(tmp_path/'nbs'/'01_bad.ipynb', 'print("before")', code, 'print("after")')
    write_nb(tmp_path/'nbs'/'02_good.ipynb', 'print(size)')
    done = digitlab('run', '--jobs', 2, '--timeout', 30 if said and 'Timeout' in said else 300, cwd=tmp_path)
    bad, good = json.loads((tmp_path/'runs'/'latest'/'results.json').read_text())['notebooks']
    assert good['status'] == 'ok' and len(assert_whole(tmp_path/'runs')) == 1
    page = tmp_path/'runs'/'latest'/'01_bad.ipynb'
    if said is None:
        assert (done.returncode, bad['status']) == (0, 'ok') and 'after' in page.read_text()
        printed = [sum(len(''.join(out['text'])) for out in cell['outputs']) for cell in json.loads(page.read_text())['cells'] if cell['cell_type'] == 'code']
        assert 100_000 < max(printed) < 100_100  # and the note that it is cut
        assert page.stat().st_size < 500_000  # in lines of three, each a string of its own in the file, they take 14 bytes a line
    else:
        assert (done.returncode, bad['status'], bad['error']['cell']) == (1, 'failed', 4) and said in bad['error']['what'], (bad['error'], done.stderr)
        assert 'Traceback' not in done.stderr and 'before' in page.read_text()
    assert not [p for p in psutil.process_iter(['cwd']) if str(tmp_path) in str(p.info['cwd'])]
    write_nb(tmp_path/'nbs'/'01_bad.ipynb', 'print("mended")')
    assert digitlab('run', '01', cwd=tmp_path).returncode == 0


def test_notebook_without_its_tag(tmp_path):
    "Refused by name before anything runs; with the tag it runs again"
    (tmp_path/'nbs').mkdir()
    write_nb(tmp_path/'nbs'/'01_a.ipynb', 'open("ran", "w")')
    path = write_nb(tmp_path/'nbs'/'02_b.ipynb', 'print(size)', tag=None)
    done = digitlab('run', '-p', 'size', 2, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, '') and not (tmp_path/'runs').exists() and not (tmp_path/'nbs'/'ran').exists()
    assert done.stderr == 'digitlab: 02_b.ipynb is not a notebook that can be run: no cell is tagged `parameters`; tag the first code cell so\n'

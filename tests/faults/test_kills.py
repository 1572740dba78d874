"kill -9 at random moments, and many processes at once"
import json, os, random, shutil, subprocess, time

import psutil
import pytest

from harm import COMMAND, PREPARE, Python, assert_prepared, assert_whole, final_names, prepare, slow, write_nb


def start_prepare(): return Python(PREPARE, 'digits')

def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, 'waited in vain'
        time.sleep(.002)


@slow
def test_forty_kills_of_a_preparation(tmp_path, expected):
    "Each time from an empty cache, at moments spread over the whole preparation; then the next call has to work"
    rng, cache, after = random.Random(0), tmp_path/'cache', []
    process = start_prepare()
    wait_until(cache.exists)
    began = time.monotonic()
    assert_prepared(process.wait(), expected)
    took = time.monotonic() - began
    while len(after) < 40:
        shutil.rmtree(cache, ignore_errors=True)
        process = start_prepare()
        wait_until(lambda: cache.exists() or process.ended())
        time.sleep(took*rng.random())
        process.kill()
        if process.wait()[0] != -9:  # it was quicker this time
            took *= .9
            continue
        there = final_names(cache)
        assert set(there) <= {'digits.safetensors', 'digits-png'}
        after.append(len(there))
        if 'digits-png' in there: assert len(list((cache/'digits-png').glob('*/*/*.png'))) == 1797
        if len(after) % 4 == 0 or there == ['digits-png']: assert_prepared(prepare(), expected)
    assert 0 in after and len(set(after)) > 1, f'all kills fell into the same stage: {after}'


@slow
def test_kills_without_clearing_up(tmp_path, expected):
    "Ten kills one after the other over what the one before has left"
    rng, cache = random.Random(1), tmp_path/'cache'
    for _ in range(10):
        process = start_prepare()
        wait_until(lambda: cache.exists() or process.ended())
        time.sleep(.6*rng.random())
        process.kill()
        process.wait()
    assert_prepared(prepare(), expected)
    assert final_names(cache) == ['digits-png', 'digits.safetensors']


@slow
def test_twenty_kills_of_a_run(tmp_path):
    "The command is killed, its family ends by itself, nothing half has a final name, and the next run passes"
    (tmp_path/'nbs').mkdir()
    for name in ('01_a', '02_b'): write_nb(tmp_path/'nbs'/f'{name}.ipynb', 'print("on")', 'import time; time.sleep(.3)', 'print("la" * 20_000)')
    words = [*COMMAND, 'run', '--jobs', '2']
    began = time.monotonic()
    assert subprocess.run(words, cwd=tmp_path, capture_output=True).returncode == 0
    took, rng, out = time.monotonic() - began, random.Random(2), tmp_path/'runs'
    before = {p.name for p in assert_whole(out)}
    kills = 0
    while kills < 20:
        process = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        time.sleep(took*rng.random())
        try: family = psutil.Process(process.pid).children(recursive=True)
        except psutil.NoSuchProcess: family = []
        process.kill()
        if process.wait() == -9: kills += 1
        else: took *= .9  # it was quicker this time
        assert not psutil.wait_procs(family, timeout=30)[1], 'a process goes on'
        assert_whole(out)
        assert (out/'latest').resolve().is_dir()
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and 'All 2 notebooks passed' in done.stdout, done.stderr
    assert json.loads((out/'latest'/'results.json').read_text())['status'] == 'ok'
    assert {p.name for p in assert_whole(out)} > before


@slow
@pytest.mark.parametrize('turn', range(3))
def test_eight_processes_at_once(tmp_path, expected, turn):
    runs = [start_prepare() for _ in range(8)]
    for run in runs:
        assert run.wait() == (0, expected, '')
    assert final_names(tmp_path/'cache') == ['digits-png', 'digits.safetensors']
    assert not list((tmp_path/'cache').glob('.part-*'))


RACE = '''
import os, sys, time
from pathlib import Path
from digitlab.data import write_aside
path, me = Path(sys.argv[1]), sys.argv[2]
for turn in range(150):
    with write_aside(path) as part:
        part.mkdir()
        for i in range(3): (part/str(i)).write_text(me)
'''

def test_one_name_given_by_many_at_once(tmp_path):
    "Four processes replace one folder as fast as they can: none fails, and the folder is one of theirs, whole"
    runs = [Python(RACE, tmp_path/'tree', n) for n in range(4)]
    for run in runs: assert run.wait() == (0, '', '')
    assert len({(tmp_path/'tree'/str(i)).read_text() for i in range(3)}) == 1
    assert sorted(os.listdir(tmp_path)) == ['home', 'tree']

"What notebooks, disks and people can do to the command `digitlab`. The notebooks here are tiny."
import json, os, re, signal, subprocess, sys, threading, time
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from conftest import ROOT, draw_seven
from digitlab import __version__, run

KERNEL = {'kernelspec': {'name': 'python3', 'language': 'python', 'display_name': 'python3'}}
GOOD = '''import os, pandas as pd
from digitlab.show import result
display({'image/png': 'iVBORw0K'}, metadata={'image/png': {'alt': 'a <dot>'}}, raw=True)
result('loss → end', 1.5, 1.5, published=1.49, unit='s')
names = 'OMP_WAIT_POLICY', 'DIGITLAB_MNIST', 'PYTHONOPTIMIZE'
result('around', [str(size), str(rate), os.path.basename(os.getcwd()), *map(os.getenv, names)])
result('models', pd.DataFrame({'acc': [.98]}, index=['a']))'''


def write(path, parameters, *code):
    "A notebook with a title, a parameters cell and code"
    cells = [new_markdown_cell(f'# About {path.stem}'),
             new_code_cell(parameters, metadata={'tags': ['parameters']}),
             *map(new_code_cell, code)]
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(new_notebook(cells=cells, metadata=KERNEL)))

def digitlab(*words, **settings):
    "The command, in this process"
    return CliRunner(**settings).invoke(run.main, list(map(str, words)))

@pytest.fixture
def project(tmp_path, monkeypatch):
    "A project with two notebooks"
    write(tmp_path/'nbs'/'01_a.ipynb', 'size = 1  # of it (full: 20)')
    write(tmp_path/'nbs'/'02_b.ipynb', "source = 'auto'\ndevice = 'auto'\nseed = 1")
    write(tmp_path/'copy'/'01_a.ipynb', 'size = 1')
    monkeypatch.chdir(tmp_path)
    return tmp_path


# a run

@pytest.fixture(scope='module')
def mixed(tmp_path_factory):
    "What is left of a run of notebooks that end in many ways, one of them well"
    project, run_job = tmp_path_factory.mktemp('mixed'), run.run_job
    def path(name): return project/'nbs'/f'{name}.ipynb'
    for name in '01_50% #1', '01_50% #1-Copy1':
        write(path(name), 'size: int = 1  # of it (full: (3, 4))\nrate = 0.1', GOOD)
    for name, code in {'02_fails': '1 / 0  # <b>', '03_dies': 'import os\nos._exit(3)',
                       '06_late': '', '07_exits': 'import sys\nsys.exit()'}.items():
        write(path(name), 'size = 1', 'print("before")', code, 'print("never")')
    head = '"nbformat_minor": 5, "metadata": {}'
    path('04_version').write_text('{"nbformat": 5, %s, "cells": []}' % head)
    path('05_cell').write_text('{"nbformat": 4, %s, "cells": [{"cell_type": "heading"}]}' % head)
    path('08_text').write_text('no notebook')
    def impatient(job, *args): run_job(job, *args[:2], .05 if 'late' in job.path.stem else 300)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        patch.setattr(run, 'run_job', impatient)
        patch.delenv('OMP_WAIT_POLICY', raising=False)
        for name, value in dict(PYTHONOPTIMIZE='1', DIGITLAB_MNIST='mnist', COLUMNS='80').items():
            patch.setenv(name, value)
        done = digitlab('run', '--jobs', 2, '--full', '-p', 'rate', '1e-5', charset='cp1252')
    folder = (project/'runs'/'latest').resolve()
    results = json.loads((folder/'results.json').read_text(encoding='utf-8'))
    return SimpleNamespace(
        project=project, status=done.exit_code, out=done.output, folder=folder,
        notebooks={one['name']: one for one in results['notebooks']},
        report=(folder/'report.html').read_text(encoding='utf-8'))

def test_one_broken_notebook_never_costs_the_report(mixed):
    said = {name: one['status'] for name, one in mixed.notebooks.items()}
    assert mixed.status == 1 and '\n1 of 8 notebooks passed\n' in mixed.out
    for name, status in {
            '01_50% #1': 'ok', '02_fails': 'FAILED: ZeroDivisionError: division by zero',
            '03_dies': 'FAILED: .*Kernel died', '04_version': '.*nbformat version 5',
            '05_cell': 'FAILED: .*ValidationError', '06_late': 'FAILED: took over 0.05 s',
            '07_exits': 'FAILED: ended early',  # papermill calls it a success
            '08_text': 'FAILED: NotJSONError'}.items():
        assert re.match(status, said[name])
        assert f'{name}: {said[name][:6]}' in mixed.out and f'>{name}<' in mixed.report

def test_parameters_and_environment(mixed):
    "-p wins over --full, a small number stays one, checks are on, paths mean the same everywhere"
    one = mixed.notebooks['01_50% #1']
    assert one['parameters'] == {'size': [3, 4], 'rate': 1e-5}
    expected = ['[3, 4]', '1e-05', 'nbs', 'PASSIVE', str(mixed.project/'mnist'), None]
    assert one['results'][1]['value'] == expected

def test_terminal_and_report(mixed):
    lines = mixed.out.splitlines()
    assert lines[0].startswith('These are not the published figures')
    assert 'loss ? end: 1.5000 s  (published 1.4900)' in lines  # cp1252 has no arrow
    assert lines[-1] == f'report: {Path("runs")/mixed.folder.name/"report.html"}'
    for text in ('<td>loss → end</td><td>1.5000 s</td><td>1.5000</td><td>1.4900</td>',
                 '<p class="FAILED">FAILED: Zero', '<h2>About 02_fails</h2>', '>&#34;In [3]&#34;:', '# &lt;b&gt;', '<h3>models</h3>',
                 '<td>0.9800</td>', 'alt="a &lt;dot&gt;"', 'href="01_50%25%20%231.ipynb"'):
        assert text in mixed.report
    assert not re.search(r'\x1b|<script|<link|url\(|(src|href)="(?!data:|#|0\d_)', mixed.report)
    assert (mixed.folder/'01_50% #1.ipynb').is_file()

@pytest.mark.parametrize('width', [80, 40])
def test_the_summary_holds_whole_words(monkeypatch, width):
    monkeypatch.setenv('COLUMNS', str(width))
    text = 'images of each digit: 5,923  6,742  5,958  6,131  5,842  5,421  5,918\n  acc  seconds'
    data = {'application/vnd.digitlab.result+json': {}, 'text/plain': text}
    job = run.Job(Path('01_a.ipynb'), status='ok', cells=[dict(outputs=[dict(data=data)])])
    assert max(map(len, run.summary(job).splitlines())) <= width
    assert run.summary(job).split() == ['01_a:', 'ok', '(0.0', 's)', *text.split()]

def test_ended_while_it_runs(project):
    "The report is written, and the notebook's kernel ends too"
    write(project/'nbs'/'01_a.ipynb', 'size = 1', """import os, signal, time
open('pid', 'w').write(str(os.getpid()))
os.kill(int(os.environ['RUN']), signal.SIGTERM)
time.sleep(600)""")
    code = 'import os; os.environ["RUN"] = str(os.getpid()); from digitlab.run import main; main()'
    done = subprocess.run([sys.executable, '-c', code, 'run', '--source', 'digits'], text=True,
                          capture_output=True, timeout=300, env=os.environ | {'PYTHONPATH': ROOT})
    assert (done.returncode, done.stderr) == (130, '') and '0 of 2 notebooks passed' in done.stdout
    first, second = json.loads((project/'runs'/'latest'/'results.json').read_text())['notebooks']
    assert first['status'] == 'FAILED: ended early' and second['status'] == 'not run'
    kernel, end = Path('/proc', (project/'nbs'/'pid').read_text()), time.monotonic() + 300
    while kernel.exists():
        assert time.monotonic() < end
        time.sleep(.1)

def test_ctrl_c_while_one_is_starting(tmp_path, monkeypatch):
    def run_job(job, *args):
        time.sleep(.3)
        job.process = subprocess.Popen(['sleep', '600'])
        job.process.wait()
    monkeypatch.setattr(run, 'run_job', run_job)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    threading.Timer(.1, os.kill, [os.getpid(), signal.SIGINT]).start()
    job = run.Job(Path('01_a.ipynb'))
    assert not run.run_jobs([job], tmp_path) and job.process.returncode == -signal.SIGTERM

def test_one_runs_alone(project, monkeypatch):
    "After the others, with all cores; what was called latest, but isn't ours, stays"
    ran = []
    def run_job(job, folder, env, timeout): ran.append((job.path.stem, 'OMP_NUM_THREADS' in env))
    monkeypatch.setattr(run, 'run_job', run_job)
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    write(project/'nbs'/'03_c.ipynb', 'size = 1')
    write(project/'runs'/'latest', 'mine')
    digitlab('run', '--source', 'digits', '--jobs', 2, '--alone', '1')
    assert [*sorted(ran[:2]), ran[2]] == [('02_b', True), ('03_c', True), ('01_a', False)]
    assert (project/'runs'/'latest').is_file()

def test_a_trained_network_replaces_nothing(project):
    write(project/'mine.safetensors', 'mine')
    for out, said in ('mine.safetensors', '--force replaces it'), ('nbs', 'is a folder'):
        done = digitlab('train', 'linear', '--source', 'digits', '--out', out)
        assert done.exit_code == 2 and said in done.output

def test_report_on_a_full_disk(project, monkeypatch):
    def full(*args, **kwargs): raise OSError(28, 'No space left on device')
    monkeypatch.setattr(run, 'run_job', lambda job, *args: setattr(job, 'status', 'ok'))
    monkeypatch.setattr(Path, 'write_text', full)
    done = digitlab('run', '01')
    assert done.exit_code == 2 and 'No space left' in done.output


# before a run

@pytest.mark.parametrize('words, said', [
    (['09'], 'no notebook 09; there are: 01_a, 02_b'), (['--alone', '**'], 'no notebook **'),
    (['01', 'copy/01_a.ipynb'], 'the same name'),
    (['x'*300], 'no notebook xxx'), (['x'*300 + '.ipynb'], 'no notebook xxx'),
    (['-p', 'epochs', '3'], 'no parameter epochs; there are: device, seed, size, source'),
    (['01', '--seed', '3'], 'no parameter seed'), (['02', '--source', 'no/folder'], 'no/folder'),
    (['02', '--device', 'abacus'], 'abacus'), (['01', '--out', 'file'], 'file')])
def test_refused(project, words, said):
    "In one line, with status 2, and nothing runs"
    (project/'file').write_text('')
    done = digitlab('run', *words)
    assert done.exit_code == 2 and said in done.output
    assert done.output.startswith('Error: ') and done.output.count('\n') == 1
    assert not (project/'runs').exists()

@pytest.mark.parametrize('words', [['run'], ['run', '99']])
def test_without_notebooks(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    done = digitlab(*words)
    assert done.exit_code == 2 and done.output.endswith(f' {tmp_path}/nbs\n')

def test_without_papermill(project, monkeypatch):
    monkeypatch.setitem(sys.modules, 'papermill', None)
    done = digitlab('run')
    assert done.exit_code == 2 and "pip install '.[dev]'" in done.output

def test_find_notebooks(project, monkeypatch):
    nbs = project/'nbs'
    for name in 'index', '02_b-Copy1', 'appendix/data': write(nbs/f'{name}.ipynb', '')
    series = [nbs/'01_a.ipynb', nbs/'02_b.ipynb', nbs/'appendix'/'data.ipynb']
    assert run.find_notebooks(['nbs/02_b-Copy1.ipynb']) == [nbs/'02_b-Copy1.ipynb']
    for folder in project, nbs, nbs/'appendix':
        monkeypatch.chdir(folder)
        assert run.find_notebooks() == series
        assert run.find_notebooks(['2', '01_a', 'data', '02']) == [series[1], series[0], series[2]]

def test_values(project, monkeypatch):
    "They go to those that have them, and a source means the same folder everywhere"
    kinds = {'auto': 'digits', 'mine': 'folder', '~/x': 'folder'}
    monkeypatch.setattr('digitlab.data.read_digits', lambda x: SimpleNamespace(kind=kinds[x]))
    monkeypatch.setenv('HOME', str(project/'home'))
    folders = {'auto': 'digits', 'mine': str(project/'mine'), '~/x': str(project/'home'/'x')}
    for source, folder in folders.items():
        jobs = [run.make_job(path) for path in run.find_notebooks()]
        given = dict(source=source, device='cpu')
        assert run.set_values(jobs, given, full=True) == kinds[source]
        assert [job.values for job in jobs] == [{'size': 20}, dict(source=folder, device='cpu')]
        monkeypatch.setenv('DIGITLAB_CACHE', source)
        if source != 'auto': assert run.kernel_env()['DIGITLAB_CACHE'] == folder


# the rest of the command, and dev/refresh.py

def test_help_and_version(python):
    for words in ['--help'], *([name, '-h'] for name in run.main.commands):
        done = digitlab(*words)
        assert done.exit_code == 0 and max(map(len, done.output.splitlines())) <= 80
    assert python('-m', 'digitlab', '--version') == f'digitlab {__version__}\n'

@pytest.mark.parametrize('words, status, said', [
    (['predict', '7.png'], 0, '7.png: 7 ('), (['predict', 'no.png', '7.png'], 1, 'no.png: '),
    (['predict', '7.png', '--model', '7.png'], 2, 'Error: 7.png'),
    (['data', 'digits'], 0, 'digits: Digits(digits, 1,437 to train, 360 to test)\n'),
    (['data', 'no/folder'], 2, 'no/folder has neither')])
def test_data_and_predict(project, words, status, said):
    draw_seven().save('7.png')
    done = digitlab(*words)
    assert done.exit_code == status and said in done.output
    assert status == 2 or max(map(len, done.output.splitlines())) <= 80

def test_refresh(project):
    import refresh  # in dev/
    (project/'pyproject.toml').write_text((ROOT/'pyproject.toml').read_text())
    widget = "display({'application/vnd.jupyter.widget-view+json': {'model_id': 'x'}}, raw=True)"
    path, knobs = project/'nbs'/'01_a.ipynb', 'size = 1  # of it (full: 20)'
    write(path, knobs, 'print(size)\n' + widget)
    assert refresh.main(['01']) == 0
    cells = json.loads(path.read_text())['cells']
    assert ''.join(cells[1]['source']) == knobs and 'papermill' not in path.read_text()
    assert [out['text'] for out in cells[2]['outputs']] == [['20\n']]
    with pytest.raises(ValueError, match='was changed'): refresh.put_back(path, b'', cells)

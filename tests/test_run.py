"""The command `digitlab`: what notebooks, disks and people can do to it. The notebooks here are tiny and import nothing heavy."""
import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from digitlab import __version__, run

REPO = Path(__file__).parent.parent
COMMAND = [sys.executable, '-c', 'import sys; from digitlab.run import main; sys.exit(main())']
RECORD = "display({{'text/plain': 'value', 'application/vnd.digitlab.result+json': {{'name': {!r}, 'value': {}, 'unit': '', 'varies': False}}}}, raw=True)"
FIGURE = '''
from base64 import b64decode
from IPython.display import Image
png = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=='
display(Image(b64decode(png)), metadata={'image/png': {'alt': 'a <dot>'}})'''


def write(path, parameters, *code, tag='parameters', metadata=None):
    "A notebook with a title, a parameters cell and code"
    cells = [new_markdown_cell(f'# About {path.stem}'), new_code_cell(parameters, metadata={'tags': [tag]}), *map(new_code_cell, code)]
    nbformat.write(new_notebook(cells=cells, metadata=metadata or {}), path)
    return path


def start(*words, cwd, **settings):
    "The command as a process"
    def default_interrupt(): signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell may start the tests with SIGINT ignored
    return subprocess.Popen([*COMMAND, *map(str, words)], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            preexec_fn=default_interrupt, **settings)


def digitlab(*words, cwd, **settings):
    "Exit status, output and errors of the command"
    process = start(*words, cwd=cwd, **settings)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def wait_for(condition, seconds=40):
    "Wait until `condition` gives something true"
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, 'waited in vain'
        time.sleep(.05)
    return found


def assert_whole(folder):
    "No file of `folder` is half written, and none is left aside"
    for path in folder.rglob('*'):
        assert not re.search(r'\.\d+$', path.name), f'{path} was left aside'
        if path.suffix in ('.json', '.ipynb'): json.loads(path.read_text())
        if path.suffix == '.html': assert path.read_text().rstrip().endswith('</html>')


@pytest.fixture
def project(tmp_path):
    "A project with a folder of notebooks"
    (tmp_path/'nbs').mkdir()
    return tmp_path


@pytest.fixture(scope='module')
def mixed(tmp_path_factory):
    "One run of notebooks that end in every way there is"
    project = tmp_path_factory.mktemp('mixed')
    nbs = project/'{nbs} äöü'  # papermill takes braces in a path for a pattern
    nbs.mkdir()
    write(nbs/'01_good.ipynb', "seed = 1  # of the draw\nsize = 2  # of the work, not size=3 (full: 20)\nname = 'x'  # a # in it (full: (3, 4))",
          RECORD.format('all three', '[seed, size, name]'), RECORD.format('accuracy', '0.12345'), FIGURE,
          'import os\n' + RECORD.format('surroundings', '[os.environ["OMP_WAIT_POLICY"], os.environ["TQDM_DISABLE"], os.path.basename(os.getcwd())]'))
    write(nbs/'02_fails.ipynb', 'size = 1', 'print("before")', 'values = [1]\n1 / (size - 1)  # <b>', 'print("never")')
    write(nbs/'03_dies.ipynb', 'size = 1', 'import os\nprint("last words", flush=True)\nimport time; time.sleep(.5)\nos._exit(3)', 'print("never")')
    write(nbs/'00_hangs.ipynb', 'size = 1', 'import subprocess\nchild = subprocess.Popen(["sleep", "4711"])\nopen("child", "w").write(str(child.pid))',
          'import time\nprint("waiting")\nwhile True: time.sleep(1)')
    write(nbs/'05_leaves.ipynb', 'size = 1', 'import sys\nsys.exit()', 'print("never")')
    write(nbs/'06_loud.ipynb', 'size = 1', 'print("la" * 5_000_000)', '"l" * 1_000_000')
    write(nbs/'07_kills.ipynb', 'size = 1', 'import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\nimport time; time.sleep(60)')
    status, out, err = digitlab('run', '--nbs', nbs, '--jobs', 3, '--timeout', 16, '--full', '-p', 'size', 1, cwd=project)
    folder = (project/'runs'/'latest').resolve()
    return SimpleNamespace(project=project, status=status, out=out, err=err, folder=folder,
                           results=json.loads((folder/'results.json').read_text()), report=(folder/'report.html').read_text())


def outcome(mixed, name): return next(one for one in mixed.results['notebooks'] if one['name'] == name)


def test_the_rest_runs_when_one_fails(mixed):
    assert (mixed.status, mixed.err) == (1, '')
    statuses = {one['name']: one['status'] for one in mixed.results['notebooks']}
    assert statuses == {'01_good': 'ok', '02_fails': 'failed', '03_dies': 'failed', '00_hangs': 'failed', '05_leaves': 'failed',
                        '06_loud': 'ok', '07_kills': 'failed'}


def test_parameters_and_results(mixed):
    good = outcome(mixed, '01_good')
    assert good['parameters'] == {'seed': 1, 'size': 1, 'name': [3, 4]}  # -p wins over --full
    assert [(r['name'], r['value']) for r in good['results'][:2]] == [('all three', [1, 1, [3, 4]]), ('accuracy', 0.12345)]
    assert (good['title'], good['cells_done'], good['cells'], good['error']) == ('About 01_good', 6, 6, None)
    assert (mixed.results['full'], mixed.results['source'], mixed.results['device']) == (True, None, None)
    assert all(one['seconds'] == round(one['seconds'], 1) for one in (mixed.results, *mixed.results['notebooks']))
    assert '<dt>sizes</dt><dd>full</dd>' in mixed.report
    assert {'python', 'torch', 'torchvision', 'fastai', 'digitlab', 'papermill'} <= mixed.results['versions'].keys()


@pytest.mark.parametrize('name, what, cell, source', [
    ('02_fails', 'ZeroDivisionError: division by zero', 4, 'values = [1]\n1 / (size - 1)  # <b>'), ('03_dies', 'DeadKernelError: Kernel died', 3, 'os._exit(3)'),
    ('00_hangs', 'TimeoutError: not done after 16 s', 4, 'while True'), ('05_leaves', 'SystemExit', 3, 'sys.exit()'),
    ('07_kills', 'the process ended with status -9', 3, 'os.kill')])
def test_a_failure_is_named_with_its_cell(mixed, name, what, cell, source):
    error = outcome(mixed, name)['error']
    assert what in error['what'] and error['cell'] == cell and source in error['source']
    assert '\x1b' not in error['traceback'] and (name != '02_fails' or '1 / (size - 1)' in error['traceback'])
    assert re.search(f'{name}: FAILED cell {cell}: {re.escape(what)}', mixed.out)
    assert f'<a href="{name}.html#cell-id={error["id"]}">Cell {cell}</a>' in mixed.report
    assert f'id="cell-id={error["id"]}"' in (mixed.folder/f'{name}.html').read_text()


def test_what_was_done_by_then_is_kept(mixed):
    assert 'last words' in (mixed.folder/'03_dies.ipynb').read_text()
    assert 'waiting' in (mixed.folder/'00_hangs.ipynb').read_text()
    assert_whole(mixed.project/'runs')


def test_the_notebooks_stay_as_they_are(mixed):
    for path in (mixed.project/'{nbs} äöü').glob('*.ipynb'): assert not any(cell.get('outputs') for cell in json.loads(path.read_text())['cells'])


def test_a_hanging_notebook_leaves_no_process(mixed):
    assert not psutil.pid_exists(int((mixed.project/'{nbs} äöü'/'child').read_text()))
    assert not [p for p in psutil.process_iter(['cwd']) if str(mixed.project) in str(p.info['cwd'])]


def test_a_loud_notebook_is_cut(mixed):
    assert (mixed.folder/'06_loud.ipynb').stat().st_size < 300_000
    assert 'cut here: more than 100,000 characters' in (mixed.folder/'06_loud.html').read_text()


def test_log_lines_and_table(mixed):
    lines = mixed.out.splitlines()
    assert '01_good: start' in lines and re.search(r'^01_good: ok \d+\.\d s$', mixed.out, re.M)
    assert re.search(r'^01_good   accuracy      0.1235$|^01_good +accuracy +0\.123[45]$', mixed.out, re.M)
    assert lines[-2:] == ['2 of 7 notebooks passed', f'report: runs/{mixed.folder.name}/report.html']


def test_live_lines_in_a_terminal(project, monkeypatch, capsys):
    class Terminal(io.StringIO):
        def isatty(self): return True
    monkeypatch.setattr(sys, 'stderr', terminal := Terminal())
    monkeypatch.delenv('TQDM_DISABLE', raising=False)
    good, bad = jobs = run.plan([write(project/'nbs'/f'{name}.ipynb', 'size = 1', 'print(1)') for name in ('01_good', '02_bad')], {})
    with run.watching(jobs) as show:
        good.status, good.cell, good.seconds = 'running', 1, 2.5
        show(good)
        good.status, good.cell = 'ok', 3
        show(good)
        bad.fail('NameError: x\nmore', 2)
        show(bad)
    seen = terminal.getvalue()
    for line in ('1/3 cells, 2.5 s', '3/3 cells, ok 2.5 s', 'FAILED cell 3: NameError: x'): assert line in seen
    assert 'more' not in seen and capsys.readouterr().out == ''


def test_the_report_is_self_contained(mixed):
    links = re.findall(r'(?:src|href)\s*=\s*"([^"]*)"', mixed.report)
    assert links and not re.search(r'url\(|@import|<script|<link', mixed.report)
    for link in links:
        assert link.startswith(('data:image/', '#')) or (mixed.folder/link.partition('#')[0]).is_file()
    assert 'alt="a &lt;dot&gt;"' in mixed.report and '# &lt;b&gt;' in mixed.report
    assert 'prefers-color-scheme: dark' in mixed.report and 'name="viewport"' in mixed.report


def test_latest_points_to_the_newest(mixed):
    assert (mixed.project/'runs'/'latest').is_symlink()
    assert sorted(os.listdir(mixed.project/'runs')) == sorted([mixed.folder.name, 'latest'])
    assert re.fullmatch(r'\d{8}T\d{6}Z', mixed.folder.name)


def test_kernels_get_quiet_waiting_and_no_bars(mixed):
    assert outcome(mixed, '01_good')['results'][2]['value'] == ['PASSIVE', '1', '{nbs} äöü']


@pytest.mark.parametrize('at_once, expected', [(1, None), (2, '4'), (3, '2'), (99, '1')])
def test_notebooks_at_once_share_the_cores(project, monkeypatch, at_once, expected):
    given = {}
    def popen(*args, env, **settings):
        given.update(env)
        return SimpleNamespace(stdout=[], stdin=io.StringIO())
    for name in ('OMP_NUM_THREADS', 'OMP_WAIT_POLICY'): monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(run.subprocess, 'Popen', popen)
    monkeypatch.setattr(os, 'cpu_count', lambda: 8)
    run.start_job(run.Job(write(project/'nbs'/'01_a.ipynb', 'size = 1')), project, at_once)
    assert (given.get('OMP_NUM_THREADS'), given.get('OMP_WAIT_POLICY')) == (expected, expected and 'PASSIVE') and given['TQDM_DISABLE'] == '1'


def test_a_relative_path_to_mnist_counts_from_where_the_command_is_given(project, monkeypatch):
    (project/'here'/'mnist').mkdir(parents=True)
    (project/'nbs'/'mnist').mkdir()
    monkeypatch.chdir(project/'here')
    for named, expected in (('mnist', project/'here'/'mnist'), ('no-such', 'no-such'), ('', '')):
        monkeypatch.setenv('DIGITLAB_MNIST', named)
        job = run.Job(write(project/'nbs'/'01_a.ipynb', 'size = 1', 'import os\nassert os.environ["DIGITLAB_MNIST"] == ' + repr(str(expected))))
        run.run_jobs([job], project)
        assert job.status == 'ok', job.error


def test_each_cell_is_told_and_no_time_is_the_limit(project):
    job = run.Job(write(project/'nbs'/'01_a.ipynb', 'size = 1', 'import time; time.sleep(1)', 'print(1)'))
    told = []
    run._run_papermill(dict(path=str(job.path), out=str(project/'out.ipynb'), params={}), lambda cell: told.append(cell))
    assert told == sorted(told) and set(told) == {0, 1, 2, 3}
    run.run_jobs([job], project)
    assert (job.status, job.cell, job.error) == ('ok', 4, None) and job.seconds > 1


def test_the_last_words_of_a_process_are_kept(project):
    job = run.Job(write(project/'nbs'/'01_a.ipynb', 'size = 1'))
    job.began, job.told, job.ear, job.noise = time.monotonic(), None, threading.Thread(), io.BytesIO(b'first' + b'.'*6000 + b'last words')
    job.proc = SimpleNamespace(poll=lambda: -9)
    job.ear.start()
    run.check_job(job)
    assert job.error['what'] == 'the process ended with status -9'
    assert len(job.error['traceback']) == 5000 and job.error['traceback'].endswith('.last words')


def test_a_process_that_does_not_listen_is_killed_with_its_children(project):
    job = run.Job(write(project/'nbs'/'01_a.ipynb', 'size = 1'))
    code = 'import subprocess; print(subprocess.Popen(["sleep", "4711"]).pid, flush=True); import time; time.sleep(4711)'
    job.proc = subprocess.Popen([sys.executable, '-c', code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    child, wait = psutil.Process(int(job.proc.stdout.readline())), job.proc.wait
    job.proc.wait = lambda seconds: wait(seconds/100)  # patience for a tenth of a second
    run.stop_job(job, 'enough')
    assert wait(10) == -signal.SIGKILL and job.error['what'] == 'enough'
    wait_for(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, 10)


@pytest.mark.parametrize('statuses, said', [(['ok', 'ok'], 'All 2 notebooks passed'), (['ok'], '1 of 1 notebooks passed'), (['ok', 'failed'], '1 of 2 notebooks passed')])
def test_headline(statuses, said): assert run.headline(dict(status='', notebooks=[dict(status=s) for s in statuses])) == said


def test_of_several_unknown_parameters_the_first_by_name_is_named(project):
    path = write(project/'nbs'/'01_a.ipynb', 'size = 1')
    with pytest.raises(run.Refused, match='no parameter a000,'): run.plan([path], {f'a{n:03}': 1 for n in reversed(range(500))})  # by chance a set begins with a000 once in 500 times


def test_the_title_may_come_after_other_text(project):
    cells = [new_markdown_cell('A badge'), new_code_cell('size = 1', metadata={'tags': ['parameters']}), new_markdown_cell('# The title'), new_markdown_cell('# Another')]
    nbformat.write(new_notebook(cells=cells), project/'nbs'/'01_a.ipynb')
    assert run.summarise(run.Job(project/'nbs'/'01_a.ipynb'), project)['title'] == 'The title'


def test_a_run_is_timed_to_tenths_of_seconds(project, monkeypatch):
    monkeypatch.setattr(run, 'time', SimpleNamespace(monotonic=iter([100, 112.3456]).__next__))
    for name in ('run_jobs', 'print_results', 'write_report'): monkeypatch.setattr(run, name, lambda *args: None)
    told = {}
    run._perform([run.Job(write(project/'nbs'/'01_a.ipynb', 'size = 1'))], told, SimpleNamespace(jobs=1, timeout=0), project)
    assert told['seconds'] == 12.3


def test_table_of_whole_numbers_has_no_decimals():
    assert run.table_text(dict(columns=['a', 'b'], data=[[3., .5], [1000., .25], [1e7, 1.]])) == [['a', 'b'], ['3', '0.50'], ['1,000', '0.25'], ['10,000,000', '1.00']]


@pytest.mark.parametrize('sign', [signal.SIGINT, signal.SIGTERM])
def test_interrupted(project, sign):
    names, jobs = ['01_a', '02_b', '03_c'], 1 if sign == signal.SIGINT else 2
    for name in names: write(project/'nbs'/f'{name}.ipynb', 'size = 1', 'print("on")', f'import time\nopen("{name}", "w").close()\ntime.sleep(600)')
    process = start('run', '--jobs', jobs, cwd=project)
    wait_for(lambda: all((project/'nbs'/name).exists() for name in names[:jobs]))
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(sign)
    out, err = process.communicate(timeout=60)
    gone, alive = psutil.wait_procs(family, timeout=5)
    assert process.returncode == 130 and not alive and len(gone) >= 2 and err == ''
    results = json.loads((project/'runs'/'latest'/'results.json').read_text())
    first, *_, last = results['notebooks']
    assert (results['status'], first['status'], last['status']) == ('stopped', 'stopped', 'not run')
    assert (first['error']['what'], first['error']['cell'], last['cells_done']) == ('interrupted', 4, 0)
    assert 'Stopped: 0 of 3' in out and 'on' in (project/'runs'/'latest'/'01_a.ipynb').read_text()
    assert_whole(project/'runs')


def test_killed(project):
    write(project/'nbs'/'01_a.ipynb', 'size = 1', 'print("on")', 'import time\nopen("on", "w").close()\ntime.sleep(600)')
    process = start('run', cwd=project)
    wait_for((project/'nbs'/'on').exists)
    family = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    gone, alive = psutil.wait_procs(family, timeout=20)
    assert not alive
    assert [p.name[0] for p in (project/'runs').iterdir()] == ['.']  # nothing has a final name
    assert_whole(project/'runs')


def test_full_disk(project):
    out = project/'small'
    out.mkdir()
    mounted = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=200k', 'tmpfs', out], capture_output=True).returncode == 0
    def small_files():
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))
    write(project/'nbs'/'01_fat.ipynb', 'size = 1', *['print("fat" * 25_000)'] * 4)
    write(project/'nbs'/'02_thin.ipynb', 'size = 1', 'print("thin")')
    try:
        command = COMMAND if mounted else ['bash', '-c', 'ulimit -f 150; exec "$@"', '-', *COMMAND]
        done = subprocess.run([*command, 'run', '--jobs', '2', '--out', out], cwd=project, capture_output=True, text=True, timeout=100)
        what = os.strerror(errno.ENOSPC if mounted else errno.EFBIG)
        assert done.returncode == 1 and re.search(rf'01_fat: FAILED cell [45]: OSError: .*{what}', done.stdout)
        assert '02_thin: start' in done.stdout and what in done.stderr and 'what was written by then is in' in done.stderr
        assert not (out/'latest').exists() and all(path.name.startswith('.') for path in out.iterdir())
        assert_whole(out)
    finally:
        if mounted: subprocess.run(['umount', out], check=True)


def test_refused_before_anything_runs(project, capsys, monkeypatch):
    monkeypatch.chdir(project)
    write(project/'nbs'/'01_a.ipynb', 'size = 1\nwidth = 2', 'print(1)')
    write(project/'nbs'/'02_b.ipynb', "size = 1\ndevice = 'auto'\nsource = 'auto'", 'print(1)')
    write(project/'untagged.ipynb', 'size = 1', tag='other')
    write(project/'magic.ipynb', '%matplotlib inline')
    (project/'text.ipynb').write_text('no notebook')
    (project/'list.ipynb').write_text('[]')
    (project/'file').write_text('')
    (project/'other').mkdir()
    write(project/'other'/'01_a.ipynb', 'size = 1')
    for words, said in {
        ('09',): 'no notebook 09 in .*; there are: 01_a, 02_b', ('nbs/03.ipynb',): 'no notebook nbs/03.ipynb',
        ('-p', 'epochs', '3'): '01_a has no parameter epochs, it has: size, width$',
        ('-p', 'width', '3'): '02_b has no parameter width, it has: size, device, source; name the notebooks that have it: 01_a',
        ('-p', 'source', 'digits'): '-p source: use --source', ('02', '--device', 'abacus'): "abacus", ('01', '--device', 'cuda:99'): 'cuda:99',
        ('02', '--source', 'no/folder'): 'no/folder', ('01', '--source', 'no/folder'): 'no/folder',
        ('untagged.ipynb',): 'untagged.ipynb .* no cell is tagged', ('magic.ipynb',): 'magic.ipynb is not', ('text.ipynb',): 'text.ipynb is not',
        ('list.ipynb',): 'list.ipynb is not', ('01', 'other/01_a.ipynb'): 'two notebooks are called 01_a', ('--nbs', 'other/none'): 'there are: none',
        ('01', '--out', 'file'): 'file', ('--jobs', '0'): '--jobs takes', ('--timeout', '-1'): '--timeout 0 or more'}.items():
        assert run.main(['run', *words]) == 2, words
        captured = capsys.readouterr()
        assert re.search(said, captured.err, re.M) and captured.err.startswith('digitlab: ') and captured.out == '', (words, captured)
        assert not (project/'runs').exists()


def test_refused_by_the_process_itself(project):
    (project/'nbs').rmdir()
    status, out, err = digitlab('run', cwd=project)
    assert (status, out) == (2, '') and err.startswith('digitlab: no folder nbs in')


def test_help_and_version(tmp_path, capsys):
    assert run.main([]) == 2 and 'COMMAND' in capsys.readouterr().err
    for words in (['--help'], ['run', '--help'], ['data', '--help'], ['predict', '--help'], ['refresh', '--help'], ['--version']):
        with pytest.raises(SystemExit) as end: run.main(words)
        assert end.value.code == 0 and capsys.readouterr().out
    for words in (['walk'], ['run', '--jobs', 'x'], ['run', '-p', 'one']):
        with pytest.raises(SystemExit) as end: run.main(words)
        assert end.value.code == 2 and 'usage' in capsys.readouterr().err
    assert digitlab('--version', cwd=tmp_path)[:2] == (0, f'digitlab {__version__}\n')


def test_data(capsys):
    assert run.main(['data', 'digits']) == 0
    words = capsys.readouterr().out.split()
    assert words[:3] == ['source', 'digits', 'folder'] and Path(words[3]).is_dir()
    assert words[-1] == '360' and words[words.index('testing') - 1] == '1,437'
    assert run.main(['data', 'no/folder']) == 2 and 'no/folder' in capsys.readouterr().err


@pytest.mark.parametrize('buffered', [True, False])
@pytest.mark.parametrize('words, statuses', [(('data', 'digits'), {141}), (('run', '--help'), {0, 141})])  # argparse may see to it itself
def test_nobody_reads_on(tmp_path, words, statuses, buffered):
    "As in `digitlab data | head -1`: a quiet end, with the status that a shell gives for it"
    process = start(*words, cwd=tmp_path, env=os.environ | {'PYTHONUNBUFFERED': '' if buffered else '1'})
    process.stdout.close()
    assert process.stderr.read() == '' and process.wait(60) in statuses
    process.stderr.close()


def test_nobody_reads_a_run(project):
    write(project/'nbs'/'01_a.ipynb', 'size = 1', 'print("on")', 'import time\nopen("on", "w").close()\ntime.sleep(600)')
    process = start('run', cwd=project)
    process.stdout.close()  # before the first line is printed
    assert (process.stderr.read(), process.wait(60)) == ('', 141)
    process.stderr.close()
    assert not (project/'runs'/'latest').exists()
    wait_for(lambda: not [p for p in psutil.process_iter(['cwd']) if str(project) in str(p.info['cwd'])])


def test_widgets_are_not_kept(project):
    "A widget is nothing without its kernel; what stands beside it in the same cell stays"
    widget = """display({'text/plain': 'a live widget', 'application/vnd.jupyter.widget-view+json': {'model_id': 'x'}}, raw=True)"""
    write(project/'nbs'/'01_a.ipynb', 'size = 1', widget + FIGURE + '\n' + widget)
    assert digitlab('run', cwd=project)[0] == 0
    executed = json.loads((project/'runs'/'latest'/'01_a.ipynb').read_text())
    assert [sorted(out['data']) for out in executed['cells'][2]['outputs']] == [['image/png', 'text/plain']]


def test_importing_is_light():
    code = 'import sys, digitlab.run; print([m for m in ("torch", "papermill", "nbconvert", "nbformat", "pandas", "tqdm") if m in sys.modules])'
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True).stdout == '[]\n'


def test_without_the_notebook_tools(project, capsys, monkeypatch):
    monkeypatch.chdir(project)
    write(project/'nbs'/'01_a.ipynb', 'size = 1')
    monkeypatch.setattr(run.util, 'find_spec', lambda name: None)
    assert run.main(['run']) == 2
    assert "in a clone of digitlab, pip install '.[dev]'" in capsys.readouterr().err


def test_values_of_p():
    assert [run.as_value(text) for text in ('3', '-0.5', '1e-3', 'None', 'True', "'3'", 'mnist', '[1, 2]', '(1, 2)', '{1: 2}', 'b"x"', '1 +', 'a b')] == \
        [3, -0.5, 1e-3, None, True, '3', 'mnist', [1, 2], [1, 2], {'1': 2}, 'b"x"', '1 +', 'a b']
    args = run.make_parser().parse_args(['run', '02', '-p', 'lr', '-0.5', '-p', 'epochs', '3'])
    assert args.p == [['lr', '-0.5'], ['epochs', '3']]


def test_source_device_and_seed_are_settled_once(project, monkeypatch):
    asked = []
    monkeypatch.setattr('digitlab.data.read_digits', lambda source: asked.append(source) or SimpleNamespace(source='digits'))
    paths = [write(project/'nbs'/'01_a.ipynb', "source = 'auto'\nseed = 1"), write(project/'nbs'/'02_b.ipynb', "device = 'auto'")]
    jobs = run.plan(paths, {})
    assert run.settle(jobs, 'auto', 'cpu', 7) == ('digits', 'cpu') and asked == ['auto']
    assert [job.params for job in jobs] == [{'source': 'digits', 'seed': 7}, {'device': 'cpu'}]
    monkeypatch.chdir(project)
    run.settle(jobs[:1], 'nbs')
    assert run.settle(jobs[1:], 'auto', 'cpu') == (None, 'cpu') and asked == ['auto', 'nbs']
    jobs = run.plan(paths, {})
    run.settle(jobs, 'nbs')
    assert jobs[0].params == {'source': str(project/'nbs')}


def test_two_runs_in_the_same_second(tmp_path):
    names, barrier = [], threading.Barrier(8)
    def one():
        barrier.wait()
        with run.run_folder(tmp_path) as (part, final): (part/'x').write_text('')
        names.append(final.name)
    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert len(set(names)) == 8 and all((tmp_path/name/'x').exists() for name in names)
    assert (tmp_path/'latest').resolve().name in names and len(os.listdir(tmp_path)) == 9


def test_latest_where_links_cannot_be_made(tmp_path, monkeypatch):
    def no_links(*args, **kwargs): raise OSError('no links here')
    monkeypatch.setattr(Path, 'symlink_to', no_links)
    with run.run_folder(tmp_path) as (part, final): pass
    assert (tmp_path/'latest').read_text() == final.name


def test_a_run_that_breaks_gets_no_name(tmp_path):
    with pytest.raises(ValueError), run.run_folder(tmp_path): raise ValueError
    assert [path.name[0] for path in tmp_path.iterdir()] == ['.']


def test_refresh(project):
    (project/'pyproject.toml').write_text((REPO/'pyproject.toml').read_text())
    kernel = {'kernelspec': {'name': 'python3', 'display_name': 'python3', 'language': 'python'}}
    good = write(project/'nbs'/'01_good.ipynb', 'size = 2  # of the work (full: 20)', 'print(size)\ndisplay(object())', FIGURE,
                 metadata=kernel | {'jupyter': {'source_hidden': True}})  # which cells may have, and a notebook as a whole not
    bad = write(project/'nbs'/'02_bad.ipynb', 'size = 2', 'nothing', metadata=kernel)
    before = bad.read_text()
    status, out, err = digitlab('refresh', '--source', 'digits', '--jobs', 2, cwd=project)
    assert (status, err, bad.read_text()) == (1, '', before)
    cells = json.loads(good.read_text())['cells']
    assert [c['metadata'].get('tags') for c in cells] == [None, ['parameters'], None, None] and 'papermill' not in good.read_text()
    assert ''.join(cells[1]['source']) == 'size = 2  # of the work (full: 20)' and cells[1]['execution_count'] is None
    assert cells[2]['outputs'][0]['text'] == ['20\n'] and ' at 0x' not in good.read_text()
    assert cells[3]['outputs'][0]['metadata'] == {'image/png': {'alt': 'a <dot>'}}
    after = good.read_text()
    subprocess.run([sys.executable, '-c', 'from nbdev.clean import nbdev_clean; nbdev_clean.__wrapped__()'], cwd=project, check=True,
                   env=os.environ | {'PYTHONWARNINGS': 'error'})
    assert good.read_text() == after  # nothing to clean, and the tag is kept


def test_refresh_leaves_a_notebook_that_was_changed(project):
    path = write(project/'nbs'/'01_a.ipynb', 'size = 1', 'print(1)')
    job = run.Job(path)
    changed = write(path, 'size = 1', 'print(2)').read_text()
    with pytest.raises(run.Refused, match='was changed while it ran'): run.put_back(job, path)
    assert path.read_text() == changed


@pytest.mark.parametrize('path', sorted((REPO/'nbs').glob('[0-9][0-9]_*.ipynb')), ids=lambda path: path.stem)
def test_every_notebook_of_the_series_can_be_run_by_name(path):
    assert run.Job(path).has and run.find_notebooks([path.stem[:2]], path.parent) == [path.resolve()]

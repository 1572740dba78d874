"What notebooks, disks and people can do to the command `digitlab`. The notebooks here are tiny."
import json, os, re, signal, subprocess, sys, time
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from digitlab import __version__, run

ROOT = Path(__file__).parents[1]
KEPT = 'application/vnd.digitlab.result+json'
RESULT = "display({'text/plain': '%s', '" + KEPT + "': %s}, raw=True)"
KERNEL = {'kernelspec': {'name': 'python3', 'language': 'python', 'display_name': 'python3'}}
FIGURE = "display({'image/png': 'iVBORw0K'}, metadata={'image/png': {'alt': 'a <dot>'}}, raw=True)"
AROUND = '''import os, sys
names = 'OMP_WAIT_POLICY', 'TQDM_DISABLE', 'DIGITLAB_MNIST'
around = [os.environ[name] for name in names] + [os.path.basename(os.getcwd()), __debug__]'''


def write(path, parameters, *code, **extra):
    "A notebook with a title, a parameters cell and code"
    title = new_markdown_cell(f'# About {path.stem}')
    knobs = new_code_cell(parameters, metadata={'tags': ['parameters']})
    nb = new_notebook(cells=[title, knobs, *map(new_code_cell, code)], metadata=KERNEL)
    nb.cells += extra.pop('cells', [])
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(nb | extra))
    return path


def digitlab(*words, **settings):
    "The command, in this process"
    return CliRunner(**settings).invoke(run.main, list(map(str, words)))

@pytest.fixture
def project(tmp_path, monkeypatch):
    "A project with two notebooks"
    write(tmp_path/'nbs'/'01_a.ipynb', 'size = 1  # of it (full: 20)')
    write(tmp_path/'nbs'/'02_b.ipynb', "source = 'auto'\ndevice = 'auto'\nseed = 1")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope='module')
def mixed(tmp_path_factory):
    "One run of notebooks that end in many ways"
    project = tmp_path_factory.mktemp('mixed')
    nbs = project/'nbs'
    odd = write(nbs/'01_50% #1.ipynb', 'size: int = 1  # of it (full: (3, 4))\nrate = 0.1', AROUND,
                RESULT % ('loss → end: 1.5', "dict(name='loss → end', value=1.5, expected=1.5, "
                          "published=1.49, unit='s')"),
                RESULT % ('', "dict(name='all', value=[str(size), str(rate), *map(str, around)])"),
                RESULT % ('0.9168 '*20, "dict(name='models', value=dict(columns=['model', 'acc'], "
                          "data=[['a', .98]]))"),
                FIGURE)
    (nbs/'01_50% #1-Copy1.ipynb').write_bytes(odd.read_bytes())
    heading = dict(cell_type='heading', id='h', metadata={}, source='')
    for name, code, extra in [('02_fails', ['print("before")', '1 / 0  # <b>', 'print("never")'], {}),
                              ('03_dies', ['import os\nos._exit(3)', 'print("never")'], {}),
                              ('04_version', [], dict(nbformat=5)), ('06_late', [], {}),
                              ('05_cell', [], dict(cells=[heading])),
                              ('07_exits', ['import sys\nsys.exit()', 'print("never")'], {})]:
        write(nbs/f'{name}.ipynb', 'size = 1', *code, **extra)
    (nbs/'08_text.ipynb').write_text('no notebook')
    run_job = run.run_job
    def impatient(job, folder, env, timeout):
        run_job(job, folder, env, .05 if job.path.stem == '06_late' else timeout)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        patch.setattr(run, 'run_job', impatient)
        for name, value in dict(PYTHONOPTIMIZE='1', DIGITLAB_MNIST='mnist', COLUMNS='80').items():
            patch.setenv(name, value)
        for name in 'OMP_WAIT_POLICY', 'OMP_NUM_THREADS': patch.delenv(name, raising=False)
        words = 'run', '--jobs', 2, '--timeout', 300, '--full', '-p', 'rate', '1e-5'
        done = digitlab(*words, charset='cp1252')
    folder = (project/'runs'/'latest').resolve()
    results = json.loads((folder/'results.json').read_text(encoding='utf-8'))
    return SimpleNamespace(
        project=project, status=done.exit_code, out=done.output, folder=folder, results=results,
        notebooks={one['name']: one for one in results['notebooks']},
        report=(folder/'report.html').read_text(encoding='utf-8'))


def test_one_broken_notebook_never_costs_the_report(mixed):
    assert mixed.status == 1 and mixed.results['headline'] == '1 of 8 notebooks passed'
    said = {name: one['status'] for name, one in mixed.notebooks.items()}
    assert said.pop('01_50% #1') == 'ok'
    assert said['02_fails'] == 'FAILED in cell 4: ZeroDivisionError: division by zero'
    assert re.match('FAILED in cell 3: .*Kernel died', said['03_dies'])
    assert re.match('FAILED: .*nbformat version 5', said['04_version'])
    assert re.match('FAILED: .*ValidationError', said['05_cell'])
    assert said['06_late'] == 'FAILED: took over 0.05 s'
    assert said['07_exits'] == 'FAILED in cell 3: ended early'  # papermill calls it a success
    assert re.match('FAILED: NotJSONError', said['08_text'])
    for name in said: assert f'{name}: FAILED' in mixed.out and f'>{name}<' in mixed.report
    for name in '01_50% #1', '02_fails': assert f'<h2>About {name}</h2>' in mixed.report


def test_parameters_and_environment(mixed):
    "-p wins over --full, a small number stays one, checks are on, paths mean the same everywhere"
    one = mixed.notebooks['01_50% #1']
    assert one['parameters'] == {'size': [3, 4], 'rate': 1e-5}
    expected = ['[3, 4]', '1e-05', 'PASSIVE', '1', str(mixed.project/'mnist'), 'nbs', 'True']
    assert one['results'][1]['value'] == expected


def test_terminal(mixed):
    assert re.search(r'^01_50% #1: ok \(\d+\.\d s\)$', mixed.out, re.M)
    assert '\nloss ? end: 1.5\n' in mixed.out  # cp1252 has no arrow
    assert mixed.out.count('\n0.9168 0.9168') == 2  # lines break between words
    lines = mixed.out.splitlines()
    assert max(map(len, lines[:-1])) <= 80 and lines[0].startswith('These are not the published')
    assert lines[-1] == f'report: {Path("runs")/mixed.folder.name/"report.html"}'


def test_report(mixed):
    for text in ('<td>loss → end</td><td>1.5000 s</td><td>1.5000</td><td>1.4900</td>',
                 '<h3>models</h3>', '<td>0.9800</td>', 'alt="a &lt;dot&gt;"', '# &lt;b&gt;',
                 'prefers-color-scheme: dark', 'href="01_50%25%20%231.ipynb"'):
        assert text in mixed.report
    assert not re.search(r'\x1b|<script|<link|url\(|(src|href)="(?!data:|#|0\d_)', mixed.report)
    assert (mixed.folder/'01_50% #1.ipynb').is_file()


@pytest.mark.parametrize('words, said', [
    (['09'], 'no notebook 09; there are: 01_a, 02_b'), (['**'], 'no notebook **'),
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
    assert done.exit_code == 2 and "pip install 'digitlab[dev]'" in done.output


def test_find_notebooks(project, monkeypatch):
    nbs = project/'nbs'
    for name in 'index', '02_b-Copy1', 'appendix/data': write(nbs/f'{name}.ipynb', '')
    series = [nbs/'01_a.ipynb', nbs/'02_b.ipynb', nbs/'appendix'/'data.ipynb']
    assert run.find_notebooks(['nbs/02_b-Copy1.ipynb']) == [nbs/'02_b-Copy1.ipynb']
    for folder in project, nbs, nbs/'appendix':
        monkeypatch.chdir(folder)
        assert run.find_notebooks() == series
        assert run.find_notebooks(['2', '01_a', 'data', '02']) == [series[1], series[0], series[2]]


def test_source_means_the_same_folder_everywhere(project, monkeypatch):
    kinds = {'auto': 'digits', 'mine': 'folder', '~/x': 'folder'}
    monkeypatch.setattr('digitlab.data.read_digits', lambda x: SimpleNamespace(kind=kinds[x]))
    monkeypatch.setenv('HOME', str(project/'home'))
    found = []
    for given in {}, {'source': 'mine'}, {'source': '~/x'}:
        job = run.Job(Path('x'), {'source': {'help': ''}})
        run.set_values([job], given)
        found.append(job.values['source'])
    for folder, path in zip(found[1:], ('mine', '~/x')):
        monkeypatch.setenv('DIGITLAB_CACHE', path)
        assert run.kernel_env()['DIGITLAB_CACHE'] == folder
    assert found == ['digits', str(project/'mine'), str(project/'home'/'x')]


def test_values_go_to_those_that_have_them(project):
    jobs = [run.make_job(path) for path in run.find_notebooks()]
    given = {'device': 'cpu', 'source': 'digits', 'seed': 7}
    run.set_values(jobs, given, full=True)
    assert [job.values for job in jobs] == [{'size': 20}, given]


@pytest.mark.parametrize('width', [80, 40])
def test_the_summary_holds_whole_words(monkeypatch, width):
    monkeypatch.setenv('COLUMNS', str(width))
    text = 'images of each digit: 5,923  6,742  5,958  6,131  5,842  5,421  5,918\n  acc  seconds'
    cells = [dict(outputs=[dict(data={KEPT: {}, 'text/plain': text})])]
    out = run.summary(run.Job(Path('01_a.ipynb'), status='ok', cells=cells))
    assert max(map(len, out.splitlines())) <= width
    assert out.split() == ['01_a:', 'ok', '(0.0', 's)', *text.split()]


@pytest.mark.parametrize('word, to', [(signal.SIGINT, os.killpg), (signal.SIGTERM, os.kill)])
def test_interrupted(project, word, to):
    "Ctrl-C in a terminal goes to all that it runs, SIGTERM to the command alone"
    write(project/'nbs'/'01_a.ipynb', 'size = 1',
          'import os, time\nopen("pid", "w").write(str(os.getpid()))\ntime.sleep(600)')
    process = subprocess.Popen(
        [sys.executable, '-m', 'digitlab', 'run', '--source', 'digits'], cwd=project, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        env=os.environ | {'PYTHONPATH': str(ROOT)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    pid, end = project/'nbs'/'pid', time.monotonic() + 60
    def wait_for(done):
        while not done():
            assert time.monotonic() < end
            time.sleep(.1)
    wait_for(lambda: pid.exists() and pid.read_text())
    to(process.pid, word)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and err == '' and '0 of 2 notebooks passed' in out
    first, second = json.loads((project/'runs'/'latest'/'results.json').read_text())['notebooks']
    assert first['status'] == 'FAILED in cell 3: ended early' and second['status'] == 'not run'
    wait_for(lambda: not Path(f'/proc/{pid.read_text()}').exists())  # the kernel ends too


def test_report_on_a_full_disk(project, monkeypatch):
    def full(*args, **kwargs): raise OSError(28, 'No space left on device')
    monkeypatch.setattr(run, 'run_job', lambda job, *args: setattr(job, 'status', 'ok'))
    monkeypatch.setattr(run, 'write_report', full)
    done = digitlab('run', '01')
    assert done.exit_code == 2 and 'No space left' in done.output
    assert '1 of 1 notebooks passed' in done.output


def test_help_and_version(python):
    for words in ['--help'], ['run', '-h'], ['data', '-h'], ['predict', '-h']:
        done = digitlab(*words)
        assert done.exit_code == 0 and max(map(len, done.output.splitlines())) <= 80
    assert python('-m', 'digitlab', '--version') == f'digitlab {__version__}\n'


def test_importing_is_light(python):
    heavy = {'torch', 'papermill', 'nbformat', 'pandas', 'tqdm', 'jinja2'}
    code = f'import sys, digitlab.run; print({heavy} & sys.modules.keys())'
    assert python('-c', code) == 'set()\n'


PREDICTIONS = {'b': (4, .51, 'unsure'), 'c': (None, 0., 'nothing is written '*9)}

@pytest.mark.parametrize('words, status, said', [
    (['predict', 'b'], 0, 'b: 4 (0.5100) unsure\n'),
    (['predict', 'c', 'b'], 1, 'b: 4 (0.5100) unsure\n'),
    (['predict', 'b', '--model', 'x'], 2, 'Error: x is no model\n'),
    (['data', 'digits'], 0, 'digits: Digits(digits, 1,437 to train, 360 to test)\n'),
    (['data', 'no/folder'], 2, 'no/folder has neither')])
def test_data_and_predict(monkeypatch, words, status, said):
    def predict_files(paths, model):
        if model: raise ValueError(f'{model} is no model')
        made = [(path, *PREDICTIONS[path]) for path in paths]
        return [SimpleNamespace(file=path, digit=digit, probability=p, note=note)
                for path, digit, p, note in made]
    module = SimpleNamespace(predict_files=predict_files)
    monkeypatch.setitem(sys.modules, 'digitlab.predict', module)
    done = digitlab(*words)
    assert done.exit_code == status and said in done.output
    assert status == 2 or max(map(len, done.output.splitlines())) <= 80


def test_refresh(project):
    import refresh  # in dev/
    (project/'pyproject.toml').write_text((ROOT/'pyproject.toml').read_text())
    widget = "display({'application/vnd.jupyter.widget-view+json': {'model_id': 'x'}}, raw=True)"
    knobs = 'size = 1  # of it (full: 20)'
    path = write(project/'nbs'/'01_a.ipynb', knobs, 'print(size)\n' + widget)
    assert refresh.main(['01']) == 0
    cells = json.loads(path.read_text())['cells']
    assert ''.join(cells[1]['source']) == knobs and 'papermill' not in path.read_text()
    assert [out['text'] for out in cells[2]['outputs']] == [['20\n']]
    with pytest.raises(ValueError, match='was changed'): refresh.put_back(path, b'', cells)

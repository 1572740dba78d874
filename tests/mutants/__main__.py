"""Breaks the library in small ways, and says which of the breaks are noticed: `make mutants`, or `python tests/mutants sgd learner.fit --most 6 -v`

A mutant is a module with one change (changes.py). First the notebook that defines the function is run, on scikit-learn's digits, with the change in its cell:
a cell that fails has caught it. What survives that meets pytest's files for the module. What survives both is listed, with the reason from survivors.txt:
blocks of the function, the lines that go (-) and come (+), and why that does no harm. The exit status is 1 if less than 95 % are caught, or a reason is missing.
Nothing is done in the tree itself: all works on copies in a temporary folder. A notebook is run once for up to 20 mutants: the process forks at their cells.
Each module is tried without a change too, and nothing may notice that.
"""
import argparse, json, os, re, shutil, signal, sys, tempfile, time, traceback, warnings
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import psutil, pytest
from changes import cells, mutants

ROOT = Path(__file__).resolve().parents[2]


def start(work, log):
    "Do `work` in a process of its own; its number"
    if pid := os.fork(): return pid
    status = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        for number, name in enumerate((os.devnull, log, log)): os.dup2(os.open(name, os.O_RDWR | os.O_CREAT | os.O_APPEND), number)
        status = work() or 0
    except BaseException: traceback.print_exc()
    finally:
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(status)


def sweep(folder):
    "Kill what was started with `folder` for its temporary files, and runs on"
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get('TMPDIR', '').startswith(f'{folder}/'): process.kill()


def attempt(work, folder):
    "Exit status of `work`, done in a process and a group of its own, of which nothing stays; below 0 for a signal"
    pid = start(lambda: os.setpgid(0, 0) or work(), folder.parent/f'{folder.name}.log')
    try: return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        with suppress(ProcessLookupError): os.killpg(pid, signal.SIGKILL)
        sweep(folder)


def run_cells(shell, sources, seconds, said=None):
    "Run the cells `sources`; 1 if one fails, which goes into the file `said`; one that takes longer than `seconds` ends the process by SIGALRM"
    for number, source in sources:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try: shell.run_cell(source).raise_error()
        except BaseException as e:
            if said: said.write_text(f'cell {number}: {type(e).__name__}: {e}')
            return 1
    signal.setitimer(signal.ITIMER_REAL, 0)


def copy_project(to):
    "Copy what the notebooks and the tests need"
    to.mkdir()
    for name in ('digitlab', 'nbs', 'tests'):
        shutil.copytree(ROOT/name, to/name, ignore=shutil.ignore_patterns('__pycache__', 'browser', 'faults', '.*'))
    for name in ('pyproject.toml', 'settings.ini'): shutil.copy(ROOT/name, to)


def notebooks(project):
    "Module -> the notebook that it is made from"
    found = sorted((project/'nbs').glob('[0-9][0-9]_*.ipynb'))
    return {re.search(r'default_exp (\w+)', path.read_text(encoding='utf-8'))[1]: path for path in found}


def plant(folder, mutant=None):
    "A copy of the project, with the mutant in it if there is one, as `folder`/tree"
    shutil.rmtree(folder/'tree', ignore_errors=True)
    shutil.copytree(folder.parent/'project', folder/'tree')
    if mutant: (folder/'tree'/'digitlab'/f'{mutant.module}.py').write_text(mutant.text, encoding='utf-8')


def walk_notebook(todo, folder, seconds):
    "Run the notebook, and at each exported cell, for each of its mutants in `todo`, the rest of the notebook in a process forked there"
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config
    shell = InteractiveShell.instance(config=Config(HistoryManager={'enabled': False}))
    nb = json.loads(notebooks(folder.parent/'project')[todo[0][1].module].read_text(encoding='utf-8'))
    sources = [(i, c['id'], ''.join(c['source'])) for i, c in enumerate(nb['cells']) if c['cell_type'] == 'code']
    plant(folder)
    os.chdir(folder/'tree'/'nbs')
    for at, (number, cell, source) in enumerate(sources):
        here, kept = os.getcwd(), folder/'kept'
        mine = [(i, mutant) for i, mutant in todo if mutant.cell == cell]
        if mine: shutil.copytree(folder/'tmp', kept, symlinks=True)
        for i, mutant in mine:
            plant(folder, mutant)
            os.chdir(here)
            rest = [(number, cells(mutant.text)[cell]), *((n, s) for n, _, s in sources[at + 1:])]
            status = attempt(lambda: run_cells(shell, rest, seconds, folder.parent/f'{i}.notebook'), folder)
            if status < 0: (folder.parent/f'{i}.notebook').write_text(signal.Signals(-status).name)
            shutil.rmtree(folder/'tmp')
            shutil.copytree(kept, folder/'tmp', symlinks=True)
            os.chdir(here)
            todo.remove((i, mutant))
        if not todo: return
        if mine:  # what the cells after this one start as processes of their own imports the module as it is
            shutil.rmtree(kept)
            plant(folder)
            os.chdir(here)
        if run_cells(shell, [(number, source)], seconds): return 1
        if 'parameters' in nb['cells'][number]['metadata'].get('tags', []) and 'source' in shell.user_ns: shell.user_ns['source'] = 'digits'


class QuickestFirst:
    "For pytest: runs each file's quickest tests first, as far as `times` tells, and writes the name of what fails into the file `said`"
    def __init__(self, said, times): self.said, self.times, self.taken = said, times, {}
    def pytest_collection_modifyitems(self, items):
        known = json.loads(self.times.read_text()) if self.times.exists() else {}
        items.sort(key=lambda item: (item.path.name == 'test_properties.py', known.get(item.nodeid, 0)))
    def pytest_runtest_logreport(self, report):
        self.taken[report.nodeid] = self.taken.get(report.nodeid, 0) + report.duration
        if report.failed: self.said.write_text(report.nodeid)
    def pytest_collectreport(self, report):
        if report.failed: self.said.write_text(report.nodeid)
    def pytest_sessionfinish(self, exitstatus):
        if not exitstatus: self.times.write_text(json.dumps(self.taken))


def run_tests(mutant, folder, said, seconds):
    "Run pytest's files for the module (for `run._predict`, which is a command, test_predict.py too); 1 if a test fails"
    module = mutant.module
    files = [folder/'tree'/'tests'/f'test_{name}.py' for name in (module, mutant.function.strip('_'), 'properties')]
    files = [str(f) for f in files if f.exists() and re.search(rf'digitlab(\.| import ){module}\b|import .*\b{module}\b', f.read_text(encoding='utf-8'))]
    os.chdir(folder/'tree')
    for name in ('OMP_NUM_THREADS', 'OMP_WAIT_POLICY'): os.environ.pop(name)  # the tests set them where they matter
    signal.setitimer(signal.ITIMER_REAL, 5*seconds)
    plugin = QuickestFirst(said, folder.parent/f'{module}.times')
    return files and pytest.main(['-x', '-p', 'no:cacheprovider', *files], plugins=[plugin]) not in (0, 5)


def judge(todo, folder, seconds):
    "Leave a file N.notebook or N.tests beside `folder` for each mutant (N, mutant) that is caught"
    (folder/'tmp'/'home').mkdir(parents=True)
    for name in ('DIGITLAB_MNIST', 'DIGITLAB_CACHE', 'FASTAI_HOME', 'XDG_CACHE_HOME'): os.environ.pop(name, None)
    os.environ.update(TMPDIR=str(folder/'tmp'), HOME=str(folder/'tmp'/'home'), PYTHONPATH=str(folder/'tree'), PYTHONDONTWRITEBYTECODE='1')
    sys.path.insert(0, str(folder/'tree'))
    sys.dont_write_bytecode, tempfile.tempdir = True, None
    if os.waitpid(start(lambda: walk_notebook(list(todo), folder, seconds), folder.parent/f'{folder.name}.log'), 0)[1]: return 1
    sweep(folder)
    for i, mutant in todo:
        said = folder.parent/f'{i}.tests'
        if not said.with_suffix('.notebook').exists():
            shutil.rmtree(folder/'tmp')
            (folder/'tmp'/'home').mkdir(parents=True)
            plant(folder, mutant)
            status = attempt(lambda: run_tests(mutant, folder, said, seconds), folder)
            if status and not said.exists(): said.write_text(signal.Signals(-status).name if status < 0 else 'no report')
    shutil.rmtree(folder)


def judge_all(every, root, jobs, seconds):
    "What became of each of the mutants `every`: None, or (notebook or tests, what failed)"
    tasks, running, live = [], {}, sys.stderr.isatty()
    for module in reversed(list(dict.fromkeys(mutant.module for mutant in every))):  # the longest come last
        mine = [(i, mutant) for i, mutant in enumerate(every) if mutant.module == module]
        tasks += [mine[at:at + 20] for at in range(0, len(mine), 20)]
    while tasks or running:
        while tasks and len(running) < jobs:
            todo = tasks.pop(0)
            folder = root/f'{todo[0][1].module}-{todo[0][0]}'
            running[start(lambda: judge(todo, folder, seconds), root/f'{folder.name}.log')] = folder
        time.sleep(.2)
        pid, status = os.waitpid(-1, os.WNOHANG)
        folder = running.pop(pid, None)
        if status: sys.exit(f'{folder.name}: not judged; the end of the log:\n' + (root/f'{folder.name}.log').read_text(errors='replace')[-3000:])
        if live: print(f'\r{len(list(root.glob("*.notebook"))) + len(list(root.glob("*.tests")))} caught', end='\r', file=sys.stderr)
    return [next(((kind, f.read_text()) for kind in ('notebook', 'tests') if (f := root/f'{i}.{kind}').exists()), None) for i in range(len(every))]


def reasons():
    "Why a mutant does no harm: (module.function, lines of the change) -> reason"
    found = {}
    for block in (ROOT/'tests'/'mutants'/'survivors.txt').read_text(encoding='utf-8').split('\n\n'):
        name, *lines = block.strip().splitlines() or ['']
        found[name, tuple(line for line in lines if line[:2] in ('- ', '+ '))] = ' '.join(line for line in lines if line[:2] not in ('- ', '+ '))
    return found


def wanted(mutant, what):
    "Whether a mutant belongs to one of the modules and functions in `what`; a control goes with each of its functions"
    name = f'{mutant.module}.{mutant.function}'
    return not what or mutant.module in what or name in what or not mutant.function and any(w.startswith(name) for w in what)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('what', nargs='*', help='modules, or functions such as learner.fit (default: all)')
    parser.add_argument('--most', type=int, default=4, help='mutants of a function at most (default: 4)')
    parser.add_argument('--seed', type=int, default=0, help='decides which changes are drawn (default: 0)')
    parser.add_argument('--jobs', type=int, default=2, help='processes at a time (default: 2)')
    parser.add_argument('--seconds', type=float, default=60, help='for a cell; one that takes longer has caught its mutant; five times that for pytest (default: 60)')
    parser.add_argument('-v', action='store_true', help='list what is caught too, and by what')
    args = parser.parse_args()
    os.environ.update(OMP_NUM_THREADS='1', OMP_WAIT_POLICY='PASSIVE', MPLBACKEND='Agg', CUDA_VISIBLE_DEVICES='')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        for name in ('fastai.vision.all', 'hypothesis', 'nbconvert', 'pandas', 'papermill', 'sklearn.datasets'): import_module(name)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    root = Path(tempfile.mkdtemp(prefix='mutants-'))
    try:
        copy_project(root/'project')
        every = [m for module in notebooks(root/'project') for m in mutants(root/'project', module, args.most, args.seed) if wanted(m, args.what)]
        for word in args.what:
            if not any(m.diff and wanted(m, [word]) for m in every): parser.error(f'nothing of {word} can be changed; name a module or a function, such as sgd or learner.fit')
        found = judge_all(every, root, args.jobs, args.seconds)
    except KeyboardInterrupt: return 130
    finally:
        for process in psutil.Process().children(recursive=True): process.kill()
        sweep(root)
        shutil.rmtree(root, ignore_errors=True)
    status = report([(m, how) for m, how in zip(every, found) if m.diff], args.v)
    for mutant, how in zip(every, found):
        if how and not mutant.diff: status = f'{mutant.module} fails without any change: {": ".join(how)}'
    return status


def report(verdicts, all_of_them):
    "Print the table and what survived; 1 if that is too much, or not explained"
    why, unexplained = reasons(), 0
    for mutant, how in verdicts:
        if how and not all_of_them: continue
        reason = how and f'{how[0]}: {how[1][:300]}' or why.get((f'{mutant.module}.{mutant.function}', mutant.diff))
        unexplained += not reason
        print(f'digitlab/{mutant.module}.py:{mutant.line} {mutant.function}', *mutant.diff, f'= {reason or "survived, and no reason is in tests/mutants/survivors.txt"}\n', sep='\n  ')
    rows = [(module, [how and how[0] for m, how in verdicts if m.module == module]) for module in dict.fromkeys(m.module for m, _ in verdicts)]
    print(f'{"module":<10}{"mutants":>9}{"notebook":>10}{"tests":>7}{"survived":>10}')
    for module, hows in [*rows, ('all', [how and how[0] for _, how in verdicts])]:
        print(f'{module:<10}{len(hows):>9}{hows.count("notebook"):>10}{hows.count("tests"):>7}{hows.count(None):>10}')
    share = sum(how is not None for _, how in verdicts)/len(verdicts)
    print(f'{share:.1%} caught, expected at least 95 %; {unexplained} survived without a reason')
    return share < .95 or unexplained > 0


if __name__ == '__main__': sys.exit(main())

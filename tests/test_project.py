"What holds for every notebook and for the package as a whole."
import ast, json, re, shutil, subprocess, sys, zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT/'nbs').glob('[0-9][0-9]_*.ipynb'))
MODULES = ['data', 'tensors', 'baseline', 'sgd', 'learner', 'mlp', 'compare', 'predict', 'run']


def read(path): return json.loads(path.read_text(encoding='utf-8'))
def source(cell): return ''.join(cell['source'])
def code_cells(notebook): return [c for c in notebook['cells'] if c['cell_type'] == 'code']
def outputs(notebook): return [o for c in code_cells(notebook) for o in c['outputs']]
def version(): return re.search('"(.+)"', (ROOT/'digitlab'/'__init__.py').read_text())[1]
def is_tagged(cell, tag): return tag in cell['metadata'].get('tags', [])

each_notebook = pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda p: p.stem)


@each_notebook
def test_parameters_come_first(path):
    cells = code_cells(read(path))
    assert [i for i, c in enumerate(cells) if is_tagged(c, 'parameters')] == [0]
    statements = ast.parse(source(cells[0])).body
    assert all(isinstance(s, ast.Assign) for s in statements)

@each_notebook
def test_colab_cell_comes_next(path):
    cell = code_cells(read(path))[1]
    assert "if 'google.colab' in sys.modules:" in source(cell) and is_tagged(cell, 'remove-cell')
    assert f'git+https://github.com/digitlab/digitlab@v{version()}' in source(cell)

def test_every_notebook_has_its_line_in_the_readme():
    text = (ROOT/'README.md').read_text(encoding='utf-8')
    for path in NOTEBOOKS:
        assert f'](nbs/{path.name})' in text
        assert f'(https://colab.research.google.com/github/digitlab/digitlab/blob/v{version()}/nbs/{path.name})' in text

@each_notebook
def test_frame(path):
    text = [source(c) for c in read(path)['cells'] if c['cell_type'] == 'markdown']
    assert re.match(r'# .+\n+> .+', text[0])
    headings = [t for t in text if t.startswith('## ')]
    assert headings[:2] == ['## What you will be able to do', '## What you need']
    assert headings[-3:] == ['## Recap', '## Questionnaire', '## Exercises']
    assert all('\n' not in h for h in headings)

@each_notebook
def test_cells_are_short(path):
    for cell in code_cells(read(path)):
        lines = [l for l in source(cell).splitlines() if l.strip() and not l.lstrip().startswith('#|')]
        assert len(lines) <= 20, source(cell)

@each_notebook
def test_answers_assert(path):
    answers = [source(c) for c in code_cells(read(path)) if is_tagged(c, 'answer')]
    assert 3 <= len(answers) <= 6
    for answer in answers: assert re.search(r'\bassert\b|\btest_\w+\(|expect_fail\(', answer), answer

@each_notebook
def test_outputs_are_fit_to_read(path):
    notebook = read(path)
    assert path.stat().st_size < 1_000_000
    assert any(outputs(notebook)), 'run and keep the outputs: make refresh'
    assert 'widgets' not in notebook['metadata'], 'a widget needs a kernel: show it if someone_watches()'
    for output in outputs(notebook):
        assert output['output_type'] != 'error'
        assert output.get('name') != 'stderr', output['text']
        assert 'Warning' not in ''.join(output.get('text', ''))
        assert not any('widget' in kind for kind in output.get('data', {})), 'show a widget only if someone_watches()'
        if 'image/png' in output.get('data', {}):
            assert output['metadata'].get('image/png', {}).get('alt'), 'show figures with show_figure(fig, alt)'

@each_notebook
def test_every_parameter_is_explained(path):
    for line in source(code_cells(read(path))[0]).splitlines(): assert re.fullmatch(r'\w+ = .+  # .+', line), line

def test_clean_keeps_what_is_needed(tmp_path):
    shutil.copytree(ROOT/'nbs', tmp_path/'nbs')
    shutil.copy(ROOT/'pyproject.toml', tmp_path)
    subprocess.run([Path(sys.executable).with_name('nbdev-clean')], cwd=tmp_path, check=True)
    for path in NOTEBOOKS: assert (tmp_path/'nbs'/path.name).read_text(encoding='utf-8') == path.read_text(encoding='utf-8')
    assert all(is_tagged(code_cells(read(tmp_path/'nbs'/p.name))[0], 'parameters') for p in NOTEBOOKS)

def test_commands():
    for command in ('digitlab', 'nbdev_test', 'nbdev-test', 'nbdev-export', 'nbdev-clean'):
        assert subprocess.run([Path(sys.executable).with_name(command), '--help'], capture_output=True).returncode == 0

def test_runs_that_are_shown_are_accepted():
    from digitlab import run
    shown = re.findall(r'^\s*(?:\S+/)?digitlab (run\b.*?)(?:  .*)?$', (ROOT/'README.md').read_text(encoding='utf-8') + run._RUN_HELP, re.M)
    assert len(shown) > 8
    for words in shown:
        args = run.make_parser().parse_args(words.split())
        run.plan(run.find_notebooks(args.notebook, ROOT/'nbs'), {name: run.as_value(value) for name, value in args.p}, args.full)

def test_modules_import_only_earlier_ones():
    for i, module in enumerate(MODULES):
        path = ROOT/'digitlab'/f'{module}.py'
        if not path.exists(): continue
        imported = re.findall(r'^\s*from (?:digitlab|\.|(?:digitlab)?\.(\w+)) import (\w+)', path.read_text(encoding='utf-8'), re.M)
        for name, what in imported: assert name in MODULES[:i] or what == '__version__', f'{module} imports {name}'

def test_names_are_all_different():
    import torch
    seen = {}
    for module in MODULES:
        path = ROOT/'digitlab'/f'{module}.py'
        if not path.exists(): continue
        names = ast.literal_eval(re.search(r'__all__ = (\[.*?\])', path.read_text(encoding='utf-8'), re.S)[1])
        for name in names:
            assert name not in seen, f'{module} and {seen[name]} both export {name}'
            assert not any(hasattr(m, name) for m in (torch, torch.nn, torch.nn.functional, torch.optim)), f'torch has {name} too'
            seen[name] = module

def test_wheel_from_sdist(tmp_path):
    def run(*args): subprocess.run([sys.executable, *args], cwd=tmp_path/'src', check=True, capture_output=True)
    shutil.copytree(ROOT, tmp_path/'src', ignore=shutil.ignore_patterns('.venv', '.git', 'runs', 'nbs', 'build', '*.egg-info'))
    run('setup.py', 'sdist', '--dist-dir', tmp_path)
    sdist = next(tmp_path.glob('*.tar.gz'))
    run('-m', 'pip', 'wheel', '--no-deps', '--no-build-isolation', '--wheel-dir', tmp_path, sdist)
    with zipfile.ZipFile(next(tmp_path.glob('*.whl'))) as wheel:
        names = wheel.namelist()
        metadata = wheel.read(next(n for n in names if n.endswith('METADATA'))).decode()
        scripts = wheel.read(next(n for n in names if n.endswith('entry_points.txt'))).decode()
    assert {f'digitlab/{m}.py' for m in MODULES if (ROOT/'digitlab'/f'{m}.py').exists()} <= set(names)
    assert 'Requires-Dist: torchvision' in metadata and 'Requires-Dist: papermill>=2.7; extra == "dev"' in metadata
    assert 'digitlab = digitlab.run:main' in scripts

def test_workflows_are_pinned():
    for path in (ROOT/'.github'/'workflows').glob('*.yml'):
        text = path.read_text()
        assert 'permissions:\n  contents: read' in text
        for used in re.findall(r'uses: (\S+)', text): assert re.fullmatch(r'[\w/-]+@[0-9a-f]{40}', used), used

def test_page_of_benchmarks_shows_the_results(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks.__main__ import NAMES, fill
    page, results = ((ROOT/p).read_text(encoding='utf-8') for p in ('docs/benchmarks.md', 'benchmarks/results.json'))
    assert fill(page, json.loads(results)) == page, "the page isn't from these results: make bench ARGS='--out benchmarks/results.json --page docs/benchmarks.md'"
    assert re.findall(r'<!-- (\w+) -->', page) == ['machine', *NAMES]

def test_results_hold_what_the_page_of_benchmarks_says():
    results = json.loads((ROOT/'benchmarks/results.json').read_text(encoding='utf-8'))['benchmarks']
    found = {one['name']: [table['rows'] for table in one['tables']] for one in results}
    for rows in found['training'][:3]: assert rows['Batches and DigitLearner']['seconds'] < 2*rows['the matrix products alone']['seconds']
    for rows, name in zip(found['convnets'], ('tensors, trimmed, bfloat16', 'train_model')):
        assert rows[name]['seconds'] < 1.2*rows['the bare step on one batch of 128']['seconds']
    loads, (_, _, to_99, to_994) = found['data'][0], found['accuracy']
    assert loads['IDX, later load']['seconds'] < loads['PNG tree, later load']['seconds'] < 0.05
    assert to_99['small convnet, 1 pass']['got_there'] == '5 of 5' and to_99['small convnet, 1 pass']['seconds'] < 6
    assert min(row['seconds'] for name, row in to_994.items() if name.startswith('small convnet')) < 20

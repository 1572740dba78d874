"What holds for every notebook and for the project as a whole."
import ast, json, re, shutil, subprocess, sys, zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

import readme  # in dev/
from conftest import ROOT

LESSONS = sorted((ROOT/'nbs').glob('[0-9][0-9]_*.ipynb'))
NOTEBOOKS = [p for p in [*LESSONS, *sorted((ROOT/'nbs'/'appendix').glob('*.ipynb'))]
             if '-Copy' not in p.name]
ORDER = ['data', 'show', 'tensors', 'baseline', 'sgd', 'learner', 'mlp', 'convnet', 'compare',
         'predict', 'scale', 'run']
MODULES = [m for m in ORDER if (ROOT/'digitlab'/f'{m}.py').exists()]
# where a package isn't called as it is imported
PACKAGES = {'PIL': 'pillow', 'sklearn': 'scikit-learn', 'IPython': 'ipython',
            'traitlets': 'anywidget'}
# `digitlab run` and lesson 7 say which extra they need
EXTRA = {'run': {'papermill', 'jinja2', 'nbformat', 'yaml'},
         'compare': {'torchvision', 'fastai'}}

each_notebook = pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda p: p.stem)
each_module = pytest.mark.parametrize('module', MODULES)


def read(path): return json.loads(path.read_text(encoding='utf-8'))
def source(cell): return ''.join(cell['source'])
def code_cells(path): return [c for c in read(path)['cells'] if c['cell_type'] == 'code']
def has_tag(cell, tag): return tag in cell['metadata'].get('tags', [])
def module_text(module): return (ROOT/'digitlab'/f'{module}.py').read_text(encoding='utf-8')
def tracked():
    return subprocess.run(['git', 'ls-files'], cwd=ROOT, capture_output=True,
                          text=True).stdout.splitlines()


# notebooks

@pytest.mark.parametrize('path', LESSONS, ids=lambda p: p.stem)
def test_parameters_come_first_and_are_explained(path):
    cells = code_cells(path)
    assert [i for i, c in enumerate(cells) if has_tag(c, 'parameters')] == [0]
    for line in source(cells[0]).splitlines(): assert re.fullmatch(r'\w+ = .+  # .+', line), line

@each_notebook
def test_title_and_subtitle(path):
    first = read(path)['cells'][0]
    assert first['cell_type'] == 'markdown' and re.match(r'# .+\n+> .+', source(first))

@each_notebook
def test_answers_can_be_split(path):
    for cell in code_cells(path):
        if has_tag(cell, 'answer'):
            assert source(cell).startswith('# answer\n'), source(cell)
            assert '\n# check\n' in source(cell), source(cell)
            assert cell['metadata']['jupyter'] == {'outputs_hidden': True, 'source_hidden': True}

@each_notebook
def test_outputs_are_fit_to_read(path):
    assert path.stat().st_size < 1_000_000
    for output in [o for c in code_cells(path) for o in c['outputs']]:
        assert output['output_type'] != 'error' and output.get('name') != 'stderr'
        if 'image/png' in output.get('data', {}):
            assert output['metadata'].get('image/png',
                                          {}).get('alt'), 'show figures with show_figure(fig, alt)'

def test_two_notebooks_with_one_module(tmp_path):
    readme.check_exports(ROOT/'nbs')
    shutil.copy(LESSONS[0], tmp_path)
    shutil.copy(LESSONS[0], tmp_path/'01_tensors-Copy1.ipynb')
    with pytest.raises(SystemExit, match='01_tensors-Copy1.ipynb and 01_tensors.ipynb both'):
        readme.check_exports(tmp_path)

def test_every_lesson_is_in_the_readme():
    text = (ROOT/'README.md').read_text(encoding='utf-8')
    for path in LESSONS: assert f'](nbs/{path.name})' in text


# modules

@each_module
def test_imports_only_earlier_ones(module):
    found = re.findall(r'^\s*from (?:digitlab)?\.(\w+) import', module_text(module), re.M)
    assert set(found) <= set(ORDER[:ORDER.index(module)]) | {'data', 'show'} - {module}

@each_module
def test_needs_only_its_requirements(module):
    config = ConfigParser(delimiters=['='])
    config.read(ROOT/'settings.ini')
    allowed = {re.split('[<>=;]', r)[0] for r in config['DEFAULT']['requirements'].split()}
    allowed |= EXTRA.get(module, set()) | set(sys.stdlib_module_names) | {'digitlab'}
    for node in ast.walk(ast.parse(module_text(module))):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else \
                [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
        for name in names:
            assert PACKAGES.get(name.split('.')[0], name.split('.')[0]) in allowed, name

def test_importing_the_package_is_quick(python):
    code = 'import digitlab, sys; print("torch" in sys.modules, "numpy" in sys.modules)'
    assert python('-c', code) == 'False False\n'


# the project

def test_wheel_from_sdist(tmp_path):
    def run(*args):
        subprocess.run([sys.executable, *args], cwd=tmp_path/'src', check=True, capture_output=True)
    for name in tracked():
        if name.startswith(('nbs/', 'tests/')) or not (ROOT/name).exists(): continue
        (tmp_path/'src'/name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT/name, tmp_path/'src'/name)
    run('setup.py', 'sdist', '--dist-dir', tmp_path)
    run('-m', 'pip', 'wheel', '--no-deps', '--no-build-isolation', '--wheel-dir', tmp_path,
        next(tmp_path.glob('*.tar.gz')))
    with zipfile.ZipFile(next(tmp_path.glob('*.whl'))) as wheel:
        names = wheel.namelist()
        metadata, scripts = (wheel.read(next(n for n in names if n.endswith(end))).decode()
                             for end in ('METADATA', 'entry_points.txt'))
    wanted = {f'digitlab/{m}.py' for m in MODULES}
    data = re.compile(r'digitlab/(models/.+\.safetensors|widgets/.+\.js|.+\.j2)')
    wanted |= {n for n in tracked() if data.fullmatch(n)}
    assert wanted <= set(names)
    assert 'Requires-Dist: pooch' in metadata
    assert 'Requires-Dist: papermill>=2.7; extra == "dev"' in metadata
    assert 'digitlab = digitlab.run:main' in scripts and 'nbdev_test' not in scripts

def test_no_link_to_an_account():
    link = re.compile(rb'github\.com/digitlab|digitlab\.github\.io|colab\.research')
    for name in tracked():
        path = ROOT/name
        if path.is_file() and path != Path(__file__): assert not link.search(path.read_bytes()), name

def test_workflows():
    paths = list((ROOT/'.github'/'workflows').glob('*.yml'))
    assert len(paths) <= 4
    for path in paths:
        text = path.read_text()
        assert 'permissions:\n  contents: read' in text
        for used in re.findall(r'uses: (\S+)', text):
            assert re.fullmatch(r'[\w/-]+@[0-9a-f]{40}', used), used

def test_top_level(): assert len({name.split('/')[0] for name in tracked()}) <= 20

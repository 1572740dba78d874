"What holds for every notebook and for the project as a whole."
import ast, re, shutil, subprocess, sys
from configparser import ConfigParser
from importlib.metadata import distributions, packages_distributions

import pytest

import readme  # in dev/
from conftest import LESSONS, ROOT, each_notebook, read, tagged
from digitlab.run import make_job

MODULES = ['files', 'show', 'data', 'tensors', 'baseline', 'sgd', 'learner', 'mlp', 'convnet',
           'compare', 'predict', 'scale', 'run']
# `digitlab run` and lesson 7 say which extra they need, and traitlets comes with anywidget
EXTRA = {'papermill', 'jinja2', 'nbformat', 'yaml', 'torchvision', 'traitlets'}
each_module = pytest.mark.parametrize('module', MODULES)


def code_cells(path): return [cell for cell in read(path).cells if cell.cell_type == 'code']
def module_text(module): return (ROOT/'digitlab'/f'{module}.py').read_text(encoding='utf-8')
def tracked():
    return subprocess.check_output(['git', 'ls-files'], cwd=ROOT, text=True).splitlines()


# notebooks

@each_notebook
def test_title_and_parameters_come_first_and_are_explained(path):
    title, first = read(path).cells[0], code_cells(path)[0]
    assert title.cell_type == 'markdown' and re.match(r'# .+\n+> .+', title.source)
    if path.stem == 'files': return  # it has no parameters
    assert tagged(read(path), 'parameters') == [first]
    lines = first.source.splitlines()
    for line in lines: assert re.fullmatch(r'\w+ = .+  # .+', line), line
    # papermill passes over lines with two equals signs
    assert list(make_job(path).parameters) == [line.split()[0] for line in lines]

@each_notebook
def test_outputs_are_fit_to_read(path):
    assert path.stat().st_size < 1_000_000
    for output in [o for cell in code_cells(path) for o in cell.outputs]:
        assert output.output_type != 'error' and output.get('name') != 'stderr'
        if 'image/png' in output.get('data', {}):
            about = output.metadata.get('image/png', {})
            assert about.get('alt'), 'show figures with show_figure(fig, alt)'

def test_two_notebooks_with_one_module(tmp_path):
    readme.check_exports(ROOT/'nbs')
    for name in LESSONS[0].name, '01_tensors-Copy1.ipynb': shutil.copy(LESSONS[0], tmp_path/name)
    with pytest.raises(SystemExit, match='01_tensors-Copy1.ipynb and 01_tensors.ipynb both'):
        readme.check_exports(tmp_path)

def test_every_lesson_is_in_the_readme():
    text = (ROOT/'README.md').read_text(encoding='utf-8')
    for path in LESSONS: assert f'](nbs/{path.name})' in text


# modules

@each_module
def test_imports_only_earlier_ones(module):
    found = re.findall(r'^\s*from (?:digitlab)?\.(\w+) import', module_text(module), re.M)
    assert set(found) <= set(MODULES[:MODULES.index(module)])

@each_module
def test_needs_only_its_requirements(module):
    config = ConfigParser(delimiters=['='])
    config.read(ROOT/'settings.ini')
    allowed = {re.split('[<>=;]', r)[0] for r in config['DEFAULT']['requirements'].split()}
    nodes = list(ast.walk(ast.parse(module_text(module))))
    found = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    found += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and not node.level]
    packages = packages_distributions()
    for name in {name.split('.')[0] for name in found} - set(sys.stdlib_module_names) - EXTRA - {'digitlab'}:
        assert allowed & {package.lower() for package in packages[name]}, name

@pytest.mark.parametrize('module, heavy', [
    ('run', 'torch papermill nbformat pandas tqdm jinja2'),
    ('predict', 'anywidget pandas matplotlib sklearn torchvision')])
def test_importing_is_light(python, module, heavy):
    code = f'import sys, digitlab.{module}; print({set(heavy.split())} & sys.modules.keys())'
    assert python('-c', code) == 'set()\n'


# the project

def test_wheel_from_sdist(tmp_path):
    def run(*words): subprocess.run(words, cwd=tmp_path, check=True, capture_output=True)
    run('git', '-C', ROOT, 'checkout-index', '--all', f'--prefix={tmp_path}/')
    run(sys.executable, 'setup.py', 'sdist', '--dist-dir', '.')
    run(sys.executable, '-m', 'pip', 'wheel', '--no-deps', '--no-build-isolation',
        *tmp_path.glob('*.tar.gz'))
    dist, = distributions(path=[str(path) for path in tmp_path.glob('*.whl')])
    assert {n for n in tracked() if n.startswith('digitlab/')} <= set(map(str, dist.files))
    for part in 'pooch', 'papermill>=2.7; extra == "dev"': assert part in '\n'.join(dist.requires)
    script, = dist.entry_points.select(group='console_scripts')
    assert (script.name, script.value) == ('digitlab', 'digitlab.run:main')

def test_no_link_to_an_account():
    link = re.compile(rb'github\.com/digitlab|digitlab\.github\.io|colab\.research')
    for path in [ROOT/name for name in tracked()]:
        if path.is_file(): assert not link.search(path.read_bytes()), path

def test_workflows():
    for path in (ROOT/'.github'/'workflows').glob('*.yml'):
        text = path.read_text()
        assert 'permissions:\n  contents: read' in text
        for used in re.findall(r'uses: (\S+)', text):
            assert re.fullmatch(r'[\w/-]+@[0-9a-f]{40}', used), used

"""The student's copy: each exercise fails until it is filled in, and passes with the answer.

Every lesson runs once, as the student's copy, on scikit-learn's digits, two at a time."""
import os, re, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat, pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT/'dev'))
import student

LESSONS = [p for p in sorted((ROOT/'nbs').glob('[0-9][0-9]_*.ipynb')) if '-Copy' not in p.name]
each_lesson = pytest.mark.parametrize('path', LESSONS, ids=lambda p: p.stem)
# Without an answer, the cell to fill in and its check fail, and the check alone does too.
EMPTY = """\
for sources in [({empty!r}, {check!r}), ({check!r},)]:
    scope = dict(globals())
    try:
        for source in sources: exec(source, scope)
    except (AssertionError, NotImplementedError) as e: assert str(e).startswith('fill in'), e
    else: raise AssertionError('passes with nothing filled in')
"""


def read(path): return nbformat.read(path, as_version=4)
def tagged(notebook, tag): return [c for c in notebook.cells if tag in c.metadata.get('tags', [])]

def solved(notebook):
    "The student's copy, where each check is tried before and after the answer is put in"
    copy = student.student_copy(notebook)
    answers, empty = iter(tagged(notebook, 'answer')), iter(tagged(copy, 'exercise'))
    cells = []
    for cell in copy.cells:
        tags = cell.metadata.get('tags', [])
        if cell.cell_type != 'code' or 'exercise' in tags: continue
        if 'check' in tags:
            cells.append(new_code_cell(EMPTY.format(empty=next(empty).source, check=cell.source)))
            cells.append(new_code_cell(student.split_answer(next(answers).source)[0]))
        cells.append(cell)
        if 'parameters' in tags: cells.append(new_code_cell("source = 'digits'"))
    return nbformat.v4.new_notebook(cells=cells, metadata=notebook.metadata)

def run(path):
    env = {**os.environ, 'OMP_NUM_THREADS': '1', 'OMP_WAIT_POLICY': 'PASSIVE', 'TQDM_DISABLE': '1',
           'MPLBACKEND': 'agg'}
    env.pop('PYTHONOPTIMIZE', None)
    client = NotebookClient(solved(read(path)), timeout=900, kernel_name='python3',
                            resources={'metadata': {'path': path.parent}})
    client.execute(env=env)

@pytest.fixture(scope='module')
def runs(request):
    paths = [item.callspec.params['path'] for item in request.session.items
             if item.function is test_exercises]
    with ThreadPoolExecutor(2) as pool:
        yield {path: pool.submit(run, path)
               for path in sorted(paths, reverse=True)}  # the later ones take longer
        pool.shutdown(cancel_futures=True)

@each_lesson
def test_exercises(path, runs): runs[path].result()

@each_lesson
def test_copy_tells_no_answer(path):
    notebook = read(path)
    copy = student.student_copy(notebook)
    exercises, checks = tagged(copy, 'exercise'), tagged(copy, 'check')
    assert len(exercises) == len(checks) == len(tagged(notebook, 'answer')) >= 3
    assert not tagged(copy, 'answer')
    assert not any(c.outputs or c.execution_count for c in exercises + checks)
    assert not any('outputs_hidden' in c.metadata.get('jupyter', {}) for c in exercises + checks)
    assert len({c.id for c in copy.cells}) == len(copy.cells)
    nbformat.validate(copy)

def test_an_answer_needs_a_check():
    with pytest.raises(ValueError, match='no line "# check"'):
        student.split_answer('a = 1\nassert a')
    with pytest.raises(ValueError, match='reads nothing that the solution gives'):
        student.empty_answer('a = 1', 'assert b')

def test_work_is_not_overwritten(tmp_path):
    student.main([str(tmp_path)])
    work = tmp_path/LESSONS[0].name
    assert not tagged(read(work), 'answer')
    work.write_text('my work')
    with pytest.raises(SystemExit, match='so nothing is written'): student.main([str(tmp_path)])
    assert work.read_text() == 'my work'
    student.main([str(tmp_path), '--force'])
    assert work.read_text() != 'my work'

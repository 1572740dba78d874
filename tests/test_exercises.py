"""The student's copy: each exercise fails until it is filled in, and passes with the answer.

`nbdev_test` runs every cell. Here run those that the exercises need, on scikit-learn's digits."""
import ast, linecache

import nbformat, pytest
import student  # in dev/

from conftest import ROOT

LESSONS = [p for p in sorted((ROOT/'nbs').glob('[0-9][0-9]_*.ipynb')) if '-Copy' not in p.name]
QUIET = 'show_', 'test_', 'expect_fail', 'print', 'result', 'display', 'plt', 'ax', 'fig'
each_lesson = pytest.mark.parametrize('path', LESSONS, ids=lambda p: p.stem)


def read(path): return nbformat.read(path, as_version=4)
def tagged(notebook, tag): return [c for c in notebook.cells if tag in c.metadata.get('tags', [])]

def names(source):
    "The names that a cell may bind or change, and all that it mentions; both with its imports"
    nodes = list(ast.walk(ast.parse(source)))
    mentioned = {node.id for node in nodes if isinstance(node, ast.Name)}
    mentioned |= {node.asname or node.name for node in nodes if isinstance(node, ast.alias)}
    for node in nodes:
        is_call = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
        is_store = isinstance(getattr(node, 'ctx', None), ast.Store)
        if is_call and not ast.unparse(node).startswith(QUIET) or isinstance(node, ast.alias) or \
           is_store and not isinstance(node, ast.Name): return mentioned, mentioned
    return set(student.bound_names(ast.parse(source))), mentioned

def needed_cells(notebook):
    "The parameters, the answers, and the cells that these may need"
    kept, needed = [], set()
    for cell in [c for c in reversed(notebook.cells) if c.cell_type == 'code']:
        bound, mentioned = names(cell.source)
        tags = cell.metadata.get('tags', [])
        if 'answer' in tags or 'parameters' in tags or bound & needed:
            kept.insert(0, cell)
            needed |= mentioned
    return kept

def fails(scope, *sources):
    "Nothing filled in: the check says so"
    with pytest.raises((AssertionError, NotImplementedError), match='^fill in'):
        for source in sources: exec(source, scope)

@each_lesson
def test_exercises(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    scope = {'__name__': '__main__'}
    for cell in needed_cells(read(path)):
        tags = cell.metadata.get('tags', [])
        if 'answer' in tags:
            empty, check = (c.source for c in student.exercise_cells(cell))
            fails(dict(scope), empty, check)
            fails(dict(scope), check)
            exec(student.split_answer(cell.source)[0], scope)
            exec(check, scope)
        else:
            lines = cell.source.splitlines(True)
            linecache.cache[cell.id] = len(cell.source), None, lines, cell.id  # for `inspect`
            exec(compile(cell.source, cell.id, 'exec'), scope)
        if 'parameters' in tags: scope['source'] = 'digits'

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
    work.write_text('my work')
    with pytest.raises(SystemExit, match='so nothing is written'): student.main([str(tmp_path)])
    assert work.read_text() == 'my work'
    student.main([str(tmp_path), '--force'])
    assert work.read_text() != 'my work'

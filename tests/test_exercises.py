"""The student's copy: each exercise fails until it is filled in.

That the answers pass is what `nbdev_test` finds out: it runs them, each with its check."""
import nbformat, pytest

import student  # in dev/
from conftest import LESSONS, each_lesson, read, tagged


@each_lesson
def test_what_is_empty_fails(path):
    for answer in tagged(read(path), 'answer'):
        empty, check = (cell.source for cell in student.exercise_cells(answer))
        given = {}
        exec(empty, {}, given)
        assert given, 'the check reads nothing that the solution gives'
        for name, value in given.items():
            errors = AssertionError, NotImplementedError
            with pytest.raises(errors, match=f'^fill in .*{name}'): exec(check, {})
            with pytest.raises(errors, match=f'^fill in .*{name}'):
                if value is ...: exec(check, dict(given))
                else: value(*[None]*value.__code__.co_argcount)

@each_lesson
def test_copy_tells_no_answer(path):
    notebook = read(path)
    copy, answers = student.student_copy(notebook), tagged(notebook, 'answer')
    cells = tagged(copy, 'exercise') + tagged(copy, 'check')
    assert len(cells) == 2*len(answers) >= 6 and not tagged(copy, 'answer')
    assert not any(cell.outputs or 'jupyter' in cell.metadata for cell in cells)
    nbformat.validate(copy)
    assert sum('*This is your copy*' in cell.source for cell in copy.cells) == 1
    hidden = {'outputs_hidden': True, 'source_hidden': True}  # in the lesson
    for cell in answers: assert cell.source[:9] == '# answer\n' and cell.metadata.jupyter == hidden

def test_work_is_not_overwritten(tmp_path):
    student.main(tmp_path/'mine')
    assert len(list((tmp_path/'mine').iterdir())) == len(LESSONS)
    with pytest.raises(SystemExit, match='so nothing is written'): student.main(tmp_path/'mine')

"""The student's copy: each exercise fails until it is filled in, and passes with the answer. And the table of questions.

Every notebook runs once, as the student's copy, on scikit-learn's digits, two at a time. At each exercise its check is tried with nothing
filled in, then with the answer, then with one of the names at a time set to something wrong."""
import os, re, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat, pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT/'.ci'))
import questions, student

NOTEBOOKS = sorted((ROOT/'nbs').glob('[0-9][0-9]_*.ipynb'))
each_notebook = pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda p: p.stem)
HELPER = """\
def _error(*sources, **changed):
    scope = {**get_ipython().user_ns, **changed}
    try:
        for source in sources: exec(source, scope)
    except Exception as e: return e
"""
EMPTY = """\
for _sources in [({empty!r}, {check!r}), ({check!r},)]:
    _e = _error(*_sources)
    assert isinstance(_e, (AssertionError, NotImplementedError)) and str(_e).startswith('fill in'), f'not filled in: {{_e!r}}'
"""
WRONG = """\
for _name in {names}:
    assert _error({check!r}, **{{_name: (lambda *args: None) if callable(globals()[_name]) else 0}}), f'{{_name}} may be wrong'
"""


def read(path): return nbformat.read(path, as_version=4)
def answers_of(notebook): return [c for c in notebook.cells if 'answer' in c.metadata.get('tags', [])]

def tried(notebook):
    "The student's copy with each answer put in, and what must hold before and after it"
    answers, cells, fill_in = iter(answers_of(notebook)), [new_code_cell(HELPER)], None
    for cell in student.student_copy(notebook).cells:
        tags = cell.metadata.get('tags', [])
        if cell.cell_type != 'code' or 'exercise' in tags:
            fill_in = cell if 'exercise' in tags else fill_in
            continue
        if 'check' in tags:
            solution, check = student.split_answer(next(answers).source)
            names = student.empty_answer(solution, check)[1]
            cells += [new_code_cell(EMPTY.format(empty=fill_in.source, check=cell.source)), new_code_cell(solution)]
        cells.append(cell)
        if 'check' in tags: cells.append(new_code_cell(WRONG.format(check=cell.source, names=names)))
        if 'parameters' in tags and 'source = ' in cell.source: cells.append(new_code_cell("source = 'digits'"))
    return nbformat.v4.new_notebook(cells=cells, metadata=notebook.metadata)

def run(path):
    env = {**os.environ, 'OMP_NUM_THREADS': '1', 'OMP_WAIT_POLICY': 'PASSIVE', 'TQDM_DISABLE': '1', 'MPLBACKEND': 'agg'}
    client = NotebookClient(tried(read(path)), timeout=900, kernel_name='python3', resources={'metadata': {'path': ROOT/'nbs'}})
    client.execute(env=env)

@pytest.fixture(scope='module')
def runs(request):
    paths = [item.callspec.params['path'] for item in request.session.items if item.function is test_exercises]
    with ThreadPoolExecutor(2) as pool:
        yield {path: pool.submit(run, path) for path in sorted(paths, reverse=True)}  # the later ones take longer
        pool.shutdown(cancel_futures=True)

@each_notebook
def test_exercises(path, runs): runs[path].result()


@each_notebook
def test_copy_tells_no_answer(path):
    notebook = read(path)
    copy = student.student_copy(notebook)
    exercises, checks = ([c for c in copy.cells if tag in c.metadata.get('tags', [])] for tag in ('exercise', 'check'))
    assert len(exercises) == len(checks) == len(answers_of(notebook)) and not answers_of(copy)
    assert not any(c.outputs or c.execution_count for c in exercises + checks)
    assert len({c.id for c in copy.cells}) == len(copy.cells)
    nbformat.validate(copy)

@each_notebook
def test_checks_say_what_is_wrong(path):
    for answer in answers_of(read(path)):
        for line in student.split_answer(answer.source)[1].splitlines():
            if re.search(r'(^|: )\s*assert ', line): assert re.search(r", f?['\"].+['\"]( *#.*)?$", line), f'say what is wrong: {line}'

def test_an_answer_needs_a_check():
    with pytest.raises(ValueError, match='no line "# check"'): student.split_answer('a = 1\nassert a')
    with pytest.raises(ValueError, match='reads nothing that the solution gives'): student.empty_answer('a = 1', 'assert b')

def test_work_is_not_overwritten(tmp_path, capsys):
    student.main([str(tmp_path/'mine')])
    names = {p.name for p in (ROOT/'nbs').glob('*.ipynb')}
    assert {p.name for p in (tmp_path/'mine').iterdir()} == names
    work = tmp_path/'mine'/NOTEBOOKS[0].name
    work.write_text('my work')
    with pytest.raises(SystemExit, match='so nothing is written'): student.main([str(tmp_path/'mine')])
    assert work.read_text() == 'my work'
    student.main([str(tmp_path/'mine'), '--force'])
    assert answers_of(read(work)) == []
    assert f'{len(names)} notebooks in' in capsys.readouterr().out


def test_table_of_questions():
    assert (ROOT/'docs'/'questions.md').read_text(encoding='utf-8') == questions.page(), 'make prepare writes it anew'
    for topic, notebook, number in re.findall(r'^\| (.+?) \| .+ \| \[.+\]\(\.\./nbs/(\w+\.ipynb)#questionnaire\), question (\d+) \|$', questions.page(), re.M):
        asked = questions.questions_of(ROOT/'nbs'/notebook)
        assert asked[int(number) - 1] in questions.page(), topic

@each_notebook
def test_every_question_has_an_answer(path):
    cells = [c.source for c in read(path).cells]
    text = cells[cells.index('## Questionnaire') + 1]
    numbers = [int(n) for n in re.findall(r'^(\d+)\. ', text, re.M)]
    assert len(numbers) >= 4 and numbers == list(range(1, len(numbers) + 1))
    assert text.count('<summary>Answer</summary>') == text.count('</details>') == len(numbers)

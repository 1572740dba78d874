"""Make the student's copy of the notebooks: for each answer a cell to fill in, and one to check it.

A cell tagged `answer` holds the solution, a line `# check`, and the check. The copy keeps the
check, and of the solution only the names that the check reads, each set to `...`."""
import ast, symtable, sys
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell

ROOT = Path(__file__).parents[1]
HINT = """\
*This is your copy*, so there's nothing to unfold. Below each exercise is a cell to fill in: put your
code in place of `...` and of `raise NotImplementedError`, and keep the names. The cell after it
checks them, and fails until the answer is right. First run all cells above the exercises. The answers
are in `{answers}`."""
GUARD = """\
missing = [name for name in {names} if globals().get(name, ...) is ...]
assert not missing, f'fill in {{", ".join(missing)}} in the cell above, and run it'
"""


def empty(name, node): # the statement that defines it, if it is a function or a class
    "What stands in place of what `name` is to be"
    if isinstance(node, ast.FunctionDef):
        node.body, node.decorator_list = [], []
        return f"{ast.unparse(node)}\n    raise NotImplementedError('fill in {name}')"
    return f'{name} = ...  # a class' if isinstance(node, ast.ClassDef) else f'{name} = ...'

def empty_answer(solution, check):
    "What stands in place of the solution, and the names that the check reads from it"
    read = {node.id for node in ast.walk(ast.parse(check)) if isinstance(node, ast.Name)}
    symbols = symtable.symtable(solution, 'answer', 'exec').get_symbols()
    names = [s.get_name() for s in symbols if s.is_assigned() and s.get_name() in read]
    defined = {node.name: node for node in ast.parse(solution).body if hasattr(node, 'name')}
    return '\n'.join(empty(name, defined.get(name)) for name in names), names

def exercise_cells(answer): # a cell tagged `answer`
    "A cell to fill in, and a cell that checks it"
    solution, check = answer.source.split('\n# check\n')
    empty, names = empty_answer(solution, check)
    cells = new_code_cell(empty), new_code_cell(f'# check\n{GUARD.format(names=names)}{check}')
    for cell, tag in zip(cells, ('exercise', 'check')):
        cell.id, cell.metadata.tags = f'{answer.id}-{tag}', [tag]
    return cells

def student_copy(notebook, answers=''): # `answers`: where to find them
    "A copy of `notebook` without its answers"
    cells, hint = [], HINT.format(answers=answers)
    for cell in notebook.cells:
        if 'answer' in cell.metadata.get('tags', []): cells += exercise_cells(cell)
        else: cells.append(cell)
        cell.source = cell.source.replace('## Exercises', f'## Exercises\n\n{hint}')
    return nbformat.from_dict({**notebook, 'cells': cells})

def main(folder=ROOT/'student'):
    "Make the student's copy of the notebooks in `folder`, which mustn't be there yet"
    folder = Path(folder)
    if folder.exists():
        sys.exit(f'{folder} is there already, perhaps with your work, so nothing is written.\n'
                 'Move it away, or name another folder, as in ARGS=again')
    folder.mkdir(parents=True)
    for path in (ROOT/'nbs').glob('[0-9]*.ipynb'):
        copy = student_copy(nbformat.read(path, as_version=4), f'nbs/{path.name}')
        nbformat.write(copy, folder/path.name)
    print(f'The notebooks are in {folder}; open them with: make lab ARGS={folder.absolute()}')

if __name__ == '__main__': main(*sys.argv[1:])

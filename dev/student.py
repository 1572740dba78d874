"""Make the student's copy of the notebooks: for each answer a cell to fill in, and one to check it.

A cell tagged `answer` holds the solution, a line `# check`, and the check. The copy keeps the
check, and of the solution only the names that the check reads, each set to `...`."""
import argparse, ast, sys
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell

ROOT = Path(__file__).parents[1]
SCOPES = (ast.FunctionDef, ast.ClassDef, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp,
          ast.GeneratorExp)
HINT = """\
This is your copy. Below each exercise is a cell to fill in: put your code in place of `...` and of
`raise NotImplementedError`, and keep the names. The cell after it checks them, and fails until the
answer is right. First run all cells above (*Run*, *Run All Above Selected Cell*). The answers are
in `{answers}`."""
GUARD = """\
missing = [name for name in {names} if globals().get(name, ...) is ...]
assert not missing, f'fill in {{", ".join(missing)}} in the cell above, and run it'
"""


def split_answer(source:str): # of a cell tagged `answer`
    "The solution and the check"
    solution, mark, check = source.partition('\n# check\n')
    if not mark:
        raise ValueError(f'this answer has no line "# check" after the solution:\n{source}')
    return solution, check

def bound_names(node): # a statement
    "Names that `node` gives a value outside of functions, classes and comprehensions, in order"
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)): return [node.name]
    if isinstance(node, SCOPES): return []
    if isinstance(node, ast.Name): return [node.id] if isinstance(node.ctx, ast.Store) else []
    return [name for child in ast.iter_child_nodes(node) for name in bound_names(child)]

def empty_answer(solution, check):
    "What stands in place of the solution, and the names that the check reads from it"
    read = {node.id for node in ast.walk(ast.parse(check)) if isinstance(node, ast.Name)}
    lines, names = [], []
    for statement in ast.parse(solution).body:
        for name in bound_names(statement):
            if name not in read or name in names: continue
            names.append(name)
            if isinstance(statement, ast.FunctionDef):
                bare = {**vars(statement), 'body': [], 'decorator_list': []}
                head = ast.unparse(ast.FunctionDef(**bare))
                lines.append(f"{head}\n    raise NotImplementedError('fill in {name}')")
            else: lines.append(f'{name} = ...' + '  # a class'*isinstance(statement, ast.ClassDef))
    if not names: raise ValueError(f'this check reads nothing that the solution gives:\n{check}')
    return '\n'.join(lines), names

def exercise_cells(answer): # a cell tagged `answer`
    "A cell to fill in, and a cell that checks it"
    solution, check = split_answer(answer.source)
    empty, names = empty_answer(solution, check)
    cells = new_code_cell(empty), new_code_cell(f'# check\n{GUARD.format(names=names)}{check}')
    for cell, tag in zip(cells, ('exercise', 'check')):
        cell.id, cell.metadata.tags = f'{answer.id}-{tag}', [tag]
    return cells

def student_copy(notebook, answers=''): # `answers`: where to find them
    "A copy of `notebook` without its answers"
    cells = []
    for cell in notebook.cells:
        if 'answer' in cell.metadata.get('tags', []): cells += exercise_cells(cell)
        else: cells.append(cell)
        if cell.source == '## Exercises':
            cells.append(new_markdown_cell(HINT.format(answers=answers), id='student'))
    return nbformat.from_dict({**notebook, 'cells': cells})

def main(args=None):
    parser = argparse.ArgumentParser(description="Make the student's copy of the notebooks",
                                     prog='make student')
    parser.add_argument('folder', nargs='?', type=Path, default=ROOT/'student',
                        help='where to (default: student)')
    parser.add_argument('--force', action='store_true',
                        help='overwrite the notebooks that are there')
    args = parser.parse_args(args)
    paths = sorted((ROOT/'nbs').glob('*.ipynb'))
    there = [p.name for p in paths if (args.folder/p.name).exists()]
    if there and not args.force:
        sys.exit(f'{args.folder} holds {", ".join(there)}, perhaps with your work, so nothing is '
                 'written.\nMove it away, or name another folder, as in ARGS=again; '
                 'ARGS=--force overwrites it.')
    args.folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        copy = student_copy(nbformat.read(path, as_version=4), f'nbs/{path.name}')
        nbformat.write(copy, args.folder/path.name)
    print(f'{len(paths)} notebooks in {args.folder}; open them with: jupyter lab {args.folder}')

if __name__ == '__main__': main()

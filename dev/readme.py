"""Write README.md from nbs/index.ipynb, without cells tagged `remove-cell`, links from the root,
and the figure that it takes from lesson 7.

With --check only look whether each notebook has a module of its own."""
import base64, re, sys
from collections import defaultdict
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter
from traitlets.config import Config

ROOT = Path(__file__).parents[1]


def check_exports(folder): # with the notebooks
    "Stop if two notebooks export to one module, as a copy does"
    homes = defaultdict(list)
    for path in sorted(Path(folder).rglob('*.ipynb')):
        if '.ipynb_checkpoints' in path.parts: continue
        for module in re.findall(r'"#\| *default_exp (\S+?)[\\"]',
                                 path.read_text(encoding='utf-8')):
            homes[module].append(path.name)
    for module, names in homes.items():
        if len(names) > 1:
            sys.exit(f'{" and ".join(names)} both export {module}: delete or move one of them')


def readme_text(notebook): # nbs/index.ipynb as nbformat reads it
    "The notebook as Markdown"
    notebook.metadata.language_info = {'name': 'python'}
    remove = Config()
    remove.TagRemovePreprocessor.update(enabled=True, remove_cell_tags=['remove-cell'])
    text, _ = MarkdownExporter(config=remove).from_notebook_node(notebook)
    text = re.sub(r'\]\((?!\w+:|/|#)([^)]+)\)', lambda m: f'](nbs/{m[1]})'.replace('nbs/../', ''),
                  text)
    return re.sub(r'\n{3,}', '\n\n', text).strip() + '\n'


def write_comparison():
    "Keep lesson 7's figure of all models as nbs/images/comparison.png"
    lesson = nbformat.read(ROOT/'nbs'/'07_resnet18_comparison.ipynb', as_version=4)
    cell, = [c for c in lesson.cells if c.source.startswith('draw_comparison(')]
    png = base64.b64decode(cell.outputs[0].data['image/png'])
    (ROOT/'nbs'/'images'/'comparison.png').write_bytes(png)


def main():
    if '--check' in sys.argv: return check_exports(ROOT/'nbs')
    notebook = nbformat.read(ROOT/'nbs'/'index.ipynb', as_version=4)
    (ROOT/'README.md').write_text(readme_text(notebook), encoding='utf-8')
    write_comparison()


if __name__ == '__main__': main()

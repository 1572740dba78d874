"Writes README.md from nbs/index.ipynb: cells tagged `remove-cell` left out, links counted from the project's root."
import re
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter

root = Path(__file__).parents[1]
notebook = nbformat.read(root/'nbs'/'index.ipynb', as_version=4)
notebook.cells = [c for c in notebook.cells if 'remove-cell' not in c.metadata.get('tags', [])]
notebook.metadata.language_info = {'name': 'python'}
text, _ = MarkdownExporter().from_notebook_node(notebook)
text = re.sub(r'\]\((?!\w+:|/|#)([^)]+)\)', lambda m: f'](nbs/{m[1]})'.replace('nbs/../', ''), text)
(root/'README.md').write_text(re.sub(r'\n{3,}', '\n\n', text).strip() + '\n', encoding='utf-8')

"Writes README.md from nbs/index.ipynb: cells tagged `remove-cell` and inputs tagged `remove-input` left out, links counted from the root."
import base64, json, re
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter
from traitlets.config import Config

from digitlab.run import read_tables

root = Path(__file__).parents[1]
results = json.loads((root/'nbs'/'06_resnet18_comparison.ipynb').read_text(encoding='utf-8'))
(root/'nbs'/'images'/'comparison.png').write_bytes(base64.b64decode(read_tables(results)[0]['figures'][0][0]))

notebook = nbformat.read(root/'nbs'/'index.ipynb', as_version=4)
notebook.metadata.language_info = {'name': 'python'}
remove = Config({'TagRemovePreprocessor': {'enabled': True, 'remove_cell_tags': ['remove-cell'], 'remove_input_tags': ['remove-input']}})
text, _ = MarkdownExporter(config=remove).from_notebook_node(notebook)
text = re.sub(r'\]\((?!\w+:|/|#)([^)]+)\)', lambda m: f'](nbs/{m[1]})'.replace('nbs/../', ''), text)
(root/'README.md').write_text(re.sub(r'\n{3,}', '\n\n', text).strip() + '\n', encoding='utf-8')

"""Builds the site from the notebooks into dev/site/_site, and fetches MNIST for it if it can.

The saved outputs are shown. A widget's output becomes the widget itself, with its still picture
inside for a browser without JavaScript."""
import base64, html, json, re, shutil, sys, tempfile
from pathlib import Path

import nbformat, numpy as np
from torch import nn
from torch.nn import functional as F

from digitlab.baseline import PixelBaseline
from digitlab.data import read_digits
from digitlab.learner import Batches, DigitLearner
from digitlab.mlp import mlp
from digitlab.predict import load_model
from digitlab.show import pack_digits
from digitlab.tensors import make_generator, scale_pixels

HERE = Path(__file__).parent
ROOT, SITE = HERE.parents[1], HERE/'_site'
NBS, WIDGETS = ROOT/'nbs', ROOT/'digitlab'/'widgets'
PAGES = [*sorted(NBS.glob('[0-9][0-9]_*.ipynb')), *sorted((NBS/'appendix').glob('*.ipynb'))]
WIDGET = 'application/vnd.digitlab.widget+json'
PAD = {'name': 'pad', 'state': {'networks': '_static/models.json', 'own': 'yours'}}
TRAIN = {'name': 'train', 'state': {'network': 'linear', 'digits': '_static/digits.json'}}


SCALE = dict(kind='scale', mean=0, std=1)

def weights(tensor): # as digitlab/widgets/nn.js reads them
    data = np.ascontiguousarray(tensor.detach(), '<f4').tobytes()
    return dict(shape=list(tensor.shape), data=base64.b64encode(data).decode())

def linear_layer(weight, bias): # tensors [out,in] and [out]
    return dict(kind='linear', weight=weights(weight), bias=weights(bias))

def norm_layer(m):
    scale = m.weight / (m.running_var.double() + m.eps).sqrt()
    return dict(kind='norm', scale=weights(scale), shift=weights(m.bias - m.running_mean*scale))

def network_layers(model): # as nn.js has them, which needs neither Flatten nor Dropout
    kinds = {nn.Conv2d: lambda m: dict(kind='conv', weight=weights(m.weight)),
             nn.MaxPool2d: lambda m: dict(kind='pool'), nn.ReLU: lambda m: dict(kind='relu'),
             nn.BatchNorm2d: norm_layer, nn.Linear: lambda m: linear_layer(m.weight, m.bias)}
    return [SCALE, *(kinds[type(m)](m) for m in model if type(m) in kinds)]

def train_models(digits): # three of the home page's four; the convnet comes with the library
    x, y = scale_pixels(digits.train_x), digits.train_y
    def train(sizes):
        generator = make_generator(0)
        model = mlp(sizes, generator)
        DigitLearner(model, Batches(x, y, 64, generator), None, F.cross_entropy, .1).fit(5)
        return model
    return PixelBaseline('mse').fit(x, y), train((784, 10)), train((784, 64, 10))

def home_models(baseline, linear, hidden): # all four, as nn.js reads them
    means = baseline.means_.flatten(1)
    nearest = linear_layer(2*means/784, -(means**2).mean(1))
    return [dict(name='pixel baseline', kind='distance', layers=[SCALE, nearest]),
            dict(name='linear model', layers=network_layers(linear)),
            dict(name='hidden layer', layers=network_layers(hidden)),
            dict(name='small convnet', layers=network_layers(load_model()[0]))]


def widget(kept, still=''):
    state = html.escape(json.dumps(kept['state']))
    name = kept['name']
    return f'<div class="digitlab-widget" data-name="{name}" data-state="{state}">{still}</div>'

def live_output(output): # what a page shows of a cell's output
    data = output.get('data', {})
    if WIDGET in data:
        alt = html.escape(output.metadata.get('image/png', {}).get('alt', ''))
        still = f'<img alt="{alt}" src="data:image/png;base64,{data["image/png"].strip()}">'
        return nbformat.v4.new_output('display_data', {'text/html': widget(data[WIDGET], still)})
    if 'image/png' in data: # one that no sentence goes with, such as a cell's last value
        about = output.metadata.setdefault('image/png', {})
        about.setdefault('alt', 'The picture that the code above shows')
    return output

def inner_links(text, folder): # what isn't on the site stays as plain text, and so do badges
    pages = *PAGES, NBS/'index.ipynb'
    def change(match):
        mark, words, target = match.groups()
        path = target.partition('#')[0]
        if mark: return match[0] if (folder/path).is_file() else words
        known = not path or re.match(r'\w+:', path) or (folder/path).resolve() in pages
        return match[0] if known else words
    parts = re.split(r'(```.*?```|`[^`\n]*`)', text, flags=re.S)  # not in code
    link = r'(!?)\[((?:[^][]|\[[^]]*\])*)\]\(([^)\s]+)\)'
    return ''.join(part if i % 2 else re.sub(link, change, part) for i, part in enumerate(parts))

def folded_name(source, tags): # what is behind a click
    if 'answer' in tags: return 'answer'
    if 'parameters' in tags: return 'settings'
    is_import = re.match(r'(from|import)\b', source) and 'hide-input' in tags
    return 'imports' if is_import else 'code'

def page(path): # a notebook as the site shows it
    nb, cells, before = nbformat.read(path, 4), [], ''
    for cell in nb.cells:
        tags = cell.metadata.get('tags', [])
        if re.match(r'#\| *(hide|default_exp)\b', cell.source): continue
        if cell.cell_type == 'markdown': what, cell.source = '', inner_links(cell.source, path.parent)
        else:
            exported = re.match(r'#\| *export', cell.source)
            cell.source = re.sub(r'^#\|.*\n?', '', cell.source, flags=re.M).strip()
            what = folded_name(cell.source, tags)
            if what == before == 'imports': # one box for both
                cells[-1].source += f'\n{cell.source}'
                continue
            cell.outputs = [live_output(o) for o in cell.outputs]
            cell.metadata.mystnb = {'code_prompt_show': f'Show the {what}',
                                    'code_prompt_hide': f'Hide the {what}'}
            if what == 'answer': tags = [*(t for t in tags if t != 'hide-input'), 'hide-cell']
            cell.metadata.tags = [*tags, 'export'] if exported else tags
        cells.append(cell)
        before = what
    nb.cells = cells
    nb.metadata = {'language_info': {'name': 'python'}}
    return nb

YOURS = """## Or train one here

Press Play: ten pictures of weights take shape while a small network learns from up to 2,000 digits, and
the pad above shows what it makes of your drawing. Reset, and it starts again from the same weights."""

def home(nb, digits): # the pad, the way in, a network to train, and the list of pages
    def title(path): return nbformat.read(path, 4).cells[0].source.splitlines()[0].lstrip('# ')
    def tree(caption, lines):
        return f'```{{toctree}}\n:hidden:\n:caption: {caption}\n\n' + '\n'.join(lines) + '\n```'
    lessons = [f'{int(p.stem[:2])}. {title(p)} <{p.stem}>' for p in PAGES if p.parent == NBS]
    appendix = [f'appendix/{p.stem}' for p in PAGES if p.parent != NBS]
    pad = widget(PAD, '<noscript>The drawing pad needs JavaScript.</noscript>')
    start = f'<p class="start"><a href="{PAGES[0].stem}.html">Start with lesson 1</a></p>'
    train = widget(TRAIN, '<noscript>Training needs JavaScript.</noscript>')
    whose = 'MNIST' if digits.kind == 'mnist' else 'scikit-learn'
    models = (f"<small>The first three models learned from {len(digits.train_y):,} of {whose}'s "
              'digits when this page was built. The small convnet comes with digitlab, and learned '
              'from MNIST.</small>')
    about = nb.cells[2].source
    nb.cells[1:3] = [nbformat.v4.new_markdown_cell(text) # the first in place of its recording
                     for text in (pad, models, about, start, YOURS, train)]
    trees = tree('Lessons', lessons) + '\n\n' + tree('Appendix', appendix)
    nb.cells.append(nbformat.v4.new_markdown_cell(trees))
    return nb

def fewer_icons(site): # the theme brings 1.5 MB of pictures and shows ten of them
    script = site/'_static'/'scripts'/'fontawesome.js'
    users = [p for p in site.rglob('*') if p.suffix in ('.html', '.js') and p != script]
    texts = [p.read_text(encoding='utf-8') for p in users]
    used = {name for text in texts for name in re.findall(r'\bfa-([\w-]+)', text)}
    def keep(match): return match[0] if match[1] in used else ''
    one = r'(?<=[{,])"?([\w-]+)"?:\[\d+,\d+,\[[^]]*\],"\w+",(?:"[^"]*"|\["[^"]*","[^"]*"\])\],?'
    script.write_text(re.sub(one, keep, script.read_text(encoding='utf-8')), encoding='utf-8')

def main():
    from sphinx.cmd.build import main as sphinx
    with tempfile.TemporaryDirectory(prefix='digitlab-site-') as work:
        source, static, site = Path(work, 'source'), Path(work, 'static'), Path(work, 'site')
        shutil.copytree(NBS, source, ignore=shutil.ignore_patterns('*.ipynb', '.ipynb_checkpoints'))
        (source/'appendix').mkdir(exist_ok=True)
        for path in PAGES: nbformat.write(page(path), source/path.relative_to(NBS))
        digits = read_digits()
        nbformat.write(home(page(NBS/'index.ipynb'), digits), source/'index.ipynb')
        shutil.copytree(WIDGETS, static/'widgets')
        models = home_models(*train_models(digits))
        kept = dict(models=models, convnet=models[-1:], digits=pack_digits(digits))
        for name, content in kept.items(): (static/f'{name}.json').write_text(json.dumps(content))
        failed = sphinx(['-q', '-W', '--keep-going', '-b', 'html', '-c', str(HERE),
                         '-d', f'{work}/doctrees', str(source), str(site),
                         '-D', f'html_static_path={HERE/"static"},{static}'])
        if failed: return failed
        for path in site.rglob('*.html'): # labels that would hide the words from a screen reader
            label = r'(<summary|<button class="[^"]*search-button-field[^>]*) aria-label="[^"]*"'
            text = re.sub(label, r'\1', path.read_text(encoding='utf-8'))
            path.write_text(text, encoding='utf-8')
        fewer_icons(site)
        for template in site.glob('_static/*macros.html'): template.unlink() # the theme's: no pages
        shutil.rmtree(SITE, ignore_errors=True)
        shutil.move(site, SITE)
    print(f'{len(PAGES) + 1} pages in {SITE}')

if __name__ == '__main__': sys.exit(main())

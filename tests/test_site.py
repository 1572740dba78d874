"The built site: `make docs` builds it and runs these."
import gzip, json, re, sys
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest

if not any('test_site' in word for word in sys.argv):
    pytest.skip('runs when asked for', allow_module_level=True)
ROOT = Path(__file__).parents[1]
SITE = ROOT/'dev'/'site'/'_site'
NOTEBOOKS = [p for folder in ('nbs', 'nbs/appendix') for p in sorted((ROOT/folder).glob('*.ipynb'))]
WIDGET = 'application/vnd.digitlab.widget+json'
BASE = 'https://site.invalid/'
HOME = [dict(name='pad', state=dict(networks='_static/models.json', own='yours')),
        dict(name='train', state=dict(network='linear', digits='_static/digits.json'))]


class Page(HTMLParser):
    "What a page links to, loads and shows"
    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.loads, self.alts, self.widgets = [], [], [], [], []
        self.text = text
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        a = dict(attrs)
        if 'id' in a: self.ids.append(a['id'])
        if tag == 'a' and 'href' in a: self.links.append(a['href'])
        if tag == 'link' and set(a['rel'].split()) & {'stylesheet', 'icon', 'preload'}:
            self.loads.append(a['href'])
        if tag in ('script', 'img', 'iframe') and a.get('src'): self.loads.append(a['src'])
        if tag == 'img': self.alts.append((a.get('alt') or '').strip())
        if 'digitlab-widget' in (a.get('class') or ''):
            self.widgets.append(dict(name=a['data-name'], state=json.loads(a['data-state'])))

PAGES = {p.relative_to(SITE).as_posix(): Page(p.read_text(encoding='utf-8'))
         for p in sorted(SITE.rglob('*.html'))}
each_page = pytest.mark.parametrize('name', PAGES)


def file_of(name, link): # where on the site a page's link leads; None for another host
    url = urlsplit(urljoin(BASE + name, link))
    if url.netloc != 'site.invalid' or link.startswith('data:'): return None
    return unquote(url.path)[1:], unquote(url.fragment)

@each_page
def test_links_inside_lead_somewhere(name):
    for link in PAGES[name].links + PAGES[name].loads:
        if not (found := file_of(name, link)): continue
        path, place = found
        assert (SITE/path).is_file(), f'{name} links to {link}'
        if place and path in PAGES: assert place in PAGES[path].ids, f'{name} links to {link}'

@each_page
def test_nothing_comes_from_another_host(name):
    for address in PAGES[name].loads:
        assert address.startswith('data:') or file_of(name, address), address

def test_neither_do_styles():
    for path in SITE.rglob('*.css'):
        text = re.sub(r'/\*.*?\*/', '', path.read_text(encoding='utf-8'), flags=re.S)
        assert not re.search(r'(url\(|@import)\s*["\']?(https?:)?//', text), path

@each_page
def test_weight(name): # compressed, with all that a first visit loads
    files = {SITE/found[0] for link in PAGES[name].loads if (found := file_of(name, link))}
    assert sum(len(gzip.compress(path.read_bytes())) for path in (SITE/name, *files)) < 1_000_000

@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_is_whole(path):
    def tags(cell): return cell['metadata'].get('tags', [])
    def is_shown(cell):
        source = ''.join(cell['source'])
        return 'remove-cell' not in tags(cell) and not re.match(r'#\| *hide', source)
    cells = json.loads(path.read_text(encoding='utf-8'))['cells']
    cells = [c for c in cells if c['cell_type'] == 'code' and is_shown(c)]
    page = PAGES[path.relative_to(ROOT/'nbs').with_suffix('.html').as_posix()]
    outputs = [o for c in cells for o in c['outputs'] if 'data' in o]
    about = [o['metadata'].get('image/png', {}) for o in outputs if 'image/png' in o['data']]
    figures = [image['alt'] for image in about if 'alt' in image]
    assert [unescape(a) for a in page.alts if a in set(figures)] == figures
    assert all(page.alts), 'an image without words'
    kept = [o['data'][WIDGET] for o in outputs if WIDGET in o['data']]
    assert page.widgets == HOME*(path.stem == 'index') + kept
    for w in page.widgets: assert (SITE/'_static'/'widgets'/f'{w["name"]}.js').is_file()
    assert page.text.count('Show the answer') == sum('answer' in tags(c) for c in cells)
    prose = re.sub(r'<pre>.*?</pre>|<code.*?</code>|srcdoc="[^"]*"', '', page.text, flags=re.S)
    assert not re.search(r'#\||\\\(|\$\$', prose)

def test_home():
    models = json.loads((SITE/HOME[0]['state']['networks']).read_text())
    assert len(models) == 4 and (SITE/HOME[1]['state']['digits']).is_file()
    assert 'Start with lesson 1' in PAGES['index.html'].text

def test_search_finds_the_words():
    index = (SITE/'searchindex.js').read_text(encoding='utf-8')
    assert all(word in index for word in ('gradient', 'valid', 'loss', 'overfit', 'convolut'))

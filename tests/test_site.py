"The built site: `make docs` builds it and runs these."
import gzip, json, re, sys
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from bs4 import BeautifulSoup

from conftest import ROOT, each_notebook, read, tagged

if not any('test_site' in word for word in sys.argv):
    pytest.skip('runs when asked for', allow_module_level=True)
SITE, BASE = ROOT/'dev'/'site'/'_site', 'https://site.invalid/'
WIDGET = 'application/vnd.digitlab.widget+json'
PAGES = {p.relative_to(SITE).as_posix(): BeautifulSoup(p.read_text(encoding='utf-8'), 'html.parser')
         for p in sorted(SITE.rglob('*.html'))}
IDS = {name: {tag['id'] for tag in page.find_all(id=True)} for name, page in PAGES.items()}
each_page = pytest.mark.parametrize('name', PAGES)


def loads(name): # the addresses that a page takes something from
    links = PAGES[name].select('link[rel~=stylesheet], link[rel~=icon], link[rel~=preload]')
    sources = PAGES[name].select('script[src], img[src], iframe[src]')
    return [tag['href'] for tag in links] + [tag['src'] for tag in sources]

def file_of(name, link): # where on the site a page's link leads; None for another host
    url = urlsplit(urljoin(BASE + name, link))
    if url.netloc != 'site.invalid' or link.startswith('data:'): return None
    return unquote(url.path)[1:], unquote(url.fragment)

@each_page
def test_links_lead_somewhere_and_nothing_comes_from_another_host(name):
    for address in loads(name): assert address.startswith('data:') or file_of(name, address)
    for link in [tag['href'] for tag in PAGES[name].select('a[href]')] + loads(name):
        if not (found := file_of(name, link)): continue
        path, place = found
        assert (SITE/path).is_file(), f'{name} links to {link}'
        if place and path in PAGES: assert place in IDS[path], f'{name} links to {link}'

def test_styles_come_from_no_other_host():
    for path in SITE.rglob('*.css'):
        text = re.sub(r'/\*.*?\*/', '', path.read_text(encoding='utf-8'), flags=re.S)
        assert not re.search(r'(url\(|@import)\s*["\']?(https?:)?//', text), path

@each_page
def test_weight(name): # compressed, with all that a first visit loads
    files = {SITE/found[0] for link in loads(name) if (found := file_of(name, link))}
    assert sum(len(gzip.compress(path.read_bytes())) for path in (SITE/name, *files)) < 1_000_000

def widgets(page):
    return [(w['data-name'], json.loads(w['data-state'])) for w in page.select('.digitlab-widget')]

@each_notebook
def test_notebook_is_whole(path):
    notebook = read(path)
    page = PAGES[path.relative_to(ROOT/'nbs').with_suffix('.html').as_posix()]
    hidden = tagged(notebook, 'remove-cell')
    cells = [c for c in notebook.cells if c.cell_type == 'code' and c not in hidden
             and not re.match(r'#\| *hide', c.source)]
    outputs = [output for cell in cells for output in cell.outputs if 'data' in output]
    about = [output.metadata.get('image/png', {}) for output in outputs]
    figures = [image.alt for image in about if 'alt' in image]
    alts = [image.get('alt', '').strip() for image in page.select('img')]
    assert [alt for alt in alts if alt in set(figures)] == figures
    assert all(alts), 'an image without words'
    kept = [output.data[WIDGET] for output in outputs if WIDGET in output.data]
    assert widgets(page) == [(widget.name, widget.state) for widget in kept]
    for widget in kept: assert (SITE/'_static'/'widgets'/f'{widget.name}.js').is_file()
    for what, tag in ('answer', 'answer'), ('settings', 'parameters'):
        assert page.get_text().count(f'Show the {what}') == len(tagged(notebook, tag))
    prose = ' '.join(text for text in page.find_all(string=True)
                     if not text.find_parents(['pre', 'code', 'script', 'style']))
    assert not re.search(r'#\||\\\(|\$\$', prose)

def test_home():
    (pad, pads), (train, trains) = widgets(PAGES['index.html'])
    models = json.loads((SITE/pads['networks']).read_text())
    assert (pad, train) == ('pad', 'train') and len(models) == 4
    assert (SITE/trains['digits']).is_file()
    text = PAGES['index.html'].get_text()
    assert 'Start with lesson 1' in text and re.search("learned from [\\d,]+ of (MNIST|scikit-learn)", text)

def test_search_finds_the_words():
    index = (SITE/'searchindex.js').read_text(encoding='utf-8')
    assert all(word in index for word in ('gradient', 'valid', 'loss', 'overfit', 'convolut'))

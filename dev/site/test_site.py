"The built site: `make docs` runs these over docs/_site."
import importlib, json, re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest

import build

SITE = Path(__file__).parent/'_site'
BASE = 'https://site.invalid/'


class Page(HTMLParser):
    "What a page links to, loads and shows"
    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.loads, self.alts, self.near, self.text = [], [], [], [], {}, text
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        a = dict(attrs)
        if 'id' in a: self.ids.append(a['id'])
        if tag == 'a' and 'href' in a:
            self.links.append(a['href'])
            for side in ('left-prev', 'right-next'):
                if side in a.get('class', '').split(): self.near[side] = a['href']
        if tag == 'link': (self.loads if set(a['rel'].split()) & {'stylesheet', 'icon', 'preload', 'modulepreload'} else self.links).append(a['href'])
        self.loads += [a[k] for k in ('src', 'srcset', 'poster', 'data') if a.get(k) and tag != 'link']
        self.loads += re.findall(r'url\(["\']?([^)"\']+)', a.get('style') or '')
        if tag == 'img': self.alts.append((a.get('alt') or '').strip())
        if tag == 'iframe': # the report in the lesson on the runner: a page in a page
            inner = Page(a.get('srcdoc') or '')
            self.loads += inner.loads
            self.alts += inner.alts
            self.links += inner.links

PAGES = {p.relative_to(SITE).as_posix(): Page(p.read_text(encoding='utf-8')) for p in sorted(SITE.rglob('*.html'))}
LESSONS = [f'{page}.html' for page in build.CHAPTERS.values()]
each_page = pytest.mark.parametrize('name', PAGES)


def test_pages():
    assert {'index.html', 'search.html', 'contributing.html', 'changelog.html', *LESSONS, *(f'api/{m}.html' for m in build.LESSONS)} <= set(PAGES)

@each_page
def test_links_inside_lead_somewhere(name):
    for link in PAGES[name].links + PAGES[name].loads:
        url = urlsplit(urljoin(BASE + name, link))
        if link.startswith('data:') or url.netloc != 'site.invalid': continue
        path = unquote(url.path)[1:]
        assert (SITE/path).is_file(), f'{name} links to {link}'
        if url.fragment and path in PAGES: assert unquote(url.fragment) in PAGES[path].ids, f'{name} links to {link}'

@each_page
def test_nothing_comes_from_another_host(name):
    for address in PAGES[name].loads: assert address.startswith('data:') or not urlsplit(address).netloc, address

def test_neither_do_styles():
    for path in SITE.rglob('*.css'):
        text = re.sub(r'/\*.*?\*/', '', path.read_text(encoding='utf-8'), flags=re.S)
        assert not re.search(r'(url\(|@import)\s*["\']?(https?:)?//', text), path

@each_page
def test_every_picture_has_a_text(name): assert all(a and not re.search(r'\.(png|svg)$', a) for a in PAGES[name].alts)

@each_page
def test_ids_are_unique(name): assert len(set(PAGES[name].ids)) == len(PAGES[name].ids)

def test_previous_and_next():
    for before, after in zip(LESSONS, LESSONS[1:]):
        assert PAGES[before].near['right-next'] == after and PAGES[after].near['left-prev'] == before
    assert PAGES['index.html'].near['right-next'] == LESSONS[0] and PAGES[LESSONS[0]].near['left-prev'] == 'index.html'

@pytest.mark.parametrize('path', build.CHAPTERS, ids=lambda p: p.stem)
def test_lesson_is_whole(path):
    cells = json.loads(path.read_text(encoding='utf-8'))['cells']
    cells = [c for c in cells if c['cell_type'] == 'code' and 'remove-cell' not in c['metadata'].get('tags', []) and not re.match(r'#\| *hide', ''.join(c['source']))]
    page = PAGES[f'{build.CHAPTERS[path]}.html']
    figures = [o['metadata']['image/png']['alt'] for c in cells for o in c['outputs'] if 'image/png' in o.get('data', {})]
    assert [a for a in page.alts if a in set(figures)] == figures
    assert page.text.count('Show the answer') == sum('answer' in c['metadata'].get('tags', []) for c in cells)
    assert not re.search(r'#\||\{py:|\\\(|\$\$', re.sub(r'srcdoc="[^"]*"|<pre>.*?</pre>|<code.*?</code>', '', page.text, flags=re.S))

@pytest.mark.parametrize('module', build.LESSONS)
def test_library(module):
    page = PAGES[f'api/{module}.html']
    parts = re.split(r'id="digitlab\.', page.text)
    entries = {p.partition('"')[0].partition('.')[2]: p for p in parts[1:]}
    for name in build.exports(module):
        obj = getattr(importlib.import_module(f'digitlab.{module}'), name)
        assert name in entries
        if not callable(obj): continue
        for parameter, *_ in build.rows(obj):
            cell = '<em>returns</em>' if parameter == 'returns' else f'<td><p><code class="docutils literal notranslate"><span class="pre">{parameter}</span></code></p></td>'
            assert cell in entries[name], f'{name} has no row for {parameter}'
        assert f'digitlab/{module}.py#L' in entries[name]

def test_search_finds_what_the_pages_say():
    index = (SITE/'searchindex.js').read_text(encoding='utf-8')
    assert all(f'"{name}"' in index for name in ('sgd_quadratic', 'api/sgd', 'contributing'))
    assert all(word in index for word in ('confus', 'gradient', 'descend'))

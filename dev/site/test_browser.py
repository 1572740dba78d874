"The built site in headless Chromium: needs `make docs` first, and Playwright."
import os, shutil, threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

SITE = Path(__file__).parent/'_site'
NAMES = [p.relative_to(SITE).as_posix() for p in sorted(SITE.rglob('*.html'))]
TOO_WIDE = '() => document.documentElement.scrollWidth - document.documentElement.clientWidth'
UNDRAWN = '() => [...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.src)'


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args): pass

@pytest.fixture(scope='module')
def base():
    with ThreadingHTTPServer(('127.0.0.1', 0), partial(Quiet, directory=SITE)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{server.server_port}/'
        server.shutdown()

@pytest.fixture(scope='module')
def browser():
    with sync_playwright() as p:
        chromium = p.chromium.launch(executable_path=os.environ.get('CHROMIUM') or shutil.which('chromium'), args=['--no-sandbox'])
        yield chromium
        chromium.close()

@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('width', [1280, 390])
def test_pages(base, browser, width, scheme):
    assert NAMES
    page, wrong = browser.new_page(viewport={'width': width, 'height': 900}, color_scheme=scheme), []
    page.on('console', lambda m: wrong.append(m.text) if m.type in ('error', 'warning') else None)
    page.on('pageerror', lambda e: wrong.append(str(e)))
    page.on('requestfailed', lambda r: None if r.failure == 'net::ERR_ABORTED' else wrong.append(r.url))  # aborted: the page was left
    page.on('request', lambda r: None if r.url.startswith((base, 'data:', 'about:')) else wrong.append(r.url))
    for name in NAMES:
        page.goto(base + name)
        assert page.evaluate(TOO_WIDE) <= 0, name
        assert page.evaluate(UNDRAWN) == [], name
        assert page.evaluate('document.documentElement.dataset.theme') == scheme, name
        assert wrong == [], name

def test_answers_unfold_and_search_finds(base, browser):
    page = browser.new_page()
    page.goto(f'{base}sgd_quadratic.html')
    answer = page.get_by_text('Show the answer').first
    code = page.locator('div.tag_answer div.cell_input, details.hide div.cell_input').last
    assert not code.is_visible()
    page.get_by_text('Show the answer').last.click()
    assert code.is_visible() and answer.is_visible()
    page.goto(f'{base}search.html?q=confusion_matrix')
    page.get_by_role('link', name='digitlab.baseline.confusion_matrix').first.click()
    page.wait_for_load_state()
    assert '/api/baseline.html' in page.url and page.url.endswith('#digitlab.baseline.confusion_matrix')

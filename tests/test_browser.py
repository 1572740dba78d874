"""Every notebook in JupyterLab, and every widget there and on the site: `make browser`.

Headless Chromium drives them. Pictures are kept in the folder that DIGITLAB_SHOTS names."""
import json, os, re, secrets, shutil, socket, subprocess, sys, time
from pathlib import Path
from urllib.parse import urlsplit

import nbformat, pytest, urllib3

from conftest import NOTEBOOKS, ROOT, each_notebook, read

if not any('test_browser' in word for word in sys.argv):
    pytest.skip('runs when asked for', allow_module_level=True)
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright
expect.set_options(timeout=60_000)

SITE = ROOT/'dev'/'site'/'_site'
LONGEST = 1200  # seconds that a notebook may take
SETTINGS = {
    'notebook-extension/tracker': {'windowingMode': 'none'},  # cells off screen are rendered too
    'apputils-extension/notification': {'fetchNews': 'false', 'checkForUpdates': False}}
STATE = """() => {
  const {content, sessionContext} = window.jupyterapp.shell.currentWidget
  const isCode = m => m.type === 'code' && m.sharedModel.getSource().trim()
  const cells = [...content.widgets].map(w => w.model).filter(isCode)
  const bad = o => o.output_type === 'error' || o.name === 'stderr'
  return {idle: sessionContext.session?.kernel?.status === 'idle', cells: cells.map(m => ({
    source: m.sharedModel.getSource(), ran: m.executionCount !== null,
    bad: m.outputs.toJSON().filter(bad)}))}
}"""
READY = """() =>
  window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"""
CUT = """() => [...document.querySelectorAll('.cell_input pre')].map(p => p.checkVisibility()
  && p.scrollWidth > p.clientWidth && p.innerText).filter(
  text => text && Math.max(...text.split('\\n').map(line => line.length)) <= 100)"""


@pytest.fixture(scope='session')
def lab(tmp_path_factory): # a JupyterLab over a copy of nbs/, with settings of its own
    home, token = tmp_path_factory.mktemp('lab'), secrets.token_hex(24)
    for path in NOTEBOOKS:
        notebook, copy = read(path), home/path.relative_to(ROOT)
        for cell in notebook.cells:
            if cell.cell_type == 'code': cell.execution_count = None
            if 'DIGITLAB_MNIST' not in os.environ: # nothing is fetched
                cell.source = cell.source.replace("source = 'auto'", "source = 'digits'")
        copy.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, copy)
    for name, values in SETTINGS.items():
        path = home/'lab'/'user-settings'/'@jupyterlab'/f'{name}.jupyterlab-settings'
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(values))
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    words = [sys.executable, '-m', 'jupyterlab', '--no-browser', '--allow-root',
             '--expose-app-in-browser', '--LabApp.extension_manager=readonly',
             f'--ServerApp.port={port}', f'--ServerApp.root_dir={home/"nbs"}']
    folders = {'JUPYTER_CONFIG_DIR': str(home), 'JUPYTER_RUNTIME_DIR': str(home/'runtime')}
    with (home/'log').open('w') as log:
        process = subprocess.Popen(words, env=os.environ | folders | {'JUPYTER_TOKEN': token},
                                   stdout=log, stderr=log)
    url = f'http://127.0.0.1:{port}/'
    until_it_is_there = urllib3.Retry(10, backoff_factor=.1)
    urllib3.request('GET', f'{url}api?token={token}', retries=until_it_is_there)
    yield url, token
    process.terminate()
    process.wait(60)

@pytest.fixture(scope='session')
def chromium():
    with sync_playwright() as playwright:
        found = os.environ.get('CHROMIUM') or shutil.which('chromium')
        browser = playwright.chromium.launch(executable_path=found, args=['--no-sandbox'])
        yield browser
        browser.close()

def open_page(chromium, own, wrong, **kwargs): # errors and requests to other hosts go into `wrong`
    def refuse(route):
        wrong.append(route.request.url)
        route.abort()
    page = chromium.new_page(**{'viewport': {'width': 1280, 'height': 900}} | kwargs)
    page.set_default_timeout(60_000)
    page.route(lambda url: not url.startswith((own, 'data:', 'blob:')), refuse)
    page.on('pageerror', lambda error: wrong.append(str(error)))
    page.on('console', lambda m: wrong.append(m.text) if m.type == 'error' else None)
    return page

def shoot(page, name):
    if folder := os.environ.get('DIGITLAB_SHOTS'): page.screenshot(path=Path(folder)/f'{name}.png')


def move_slider(page, box): # what the widget says changes; then every button once
    before = box.inner_text()
    box.locator('input[type=range]').first.press('End')
    assert box.inner_text() != before
    for button in box.get_by_role('button').all(): button.click()

def draw_digits(page, pad): # a 7 with the mouse, a 1 with the keyboard
    digit = pad.locator('[data-model="small convnet"] .digit')
    pad.locator('.paper').scroll_into_view_if_needed()
    box = pad.locator('.paper').bounding_box()
    points = [(box['x'] + x*box['width'], box['y'] + y*box['height'])
              for x, y in [(.25, .22), (.75, .22), (.42, .85)]]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]: page.mouse.move(*point, steps=10)
    page.mouse.up()
    expect(digit).to_have_text('7')
    shoot(page, 'pad-drawn')
    pad.locator('.paper').press('Escape')
    for _ in range(20): pad.locator('.paper').press('Shift+ArrowDown')
    expect(digit).to_have_text('1')
    pad.get_by_role('button', name='Clear').click()
    expect(digit).to_have_text('–')

def train_network(page, box):
    box.get_by_role('button', name='One step').press('Enter')
    expect(box.get_by_role('status')).to_contain_text('accuracy')
    first = box.get_by_role('status').inner_text()
    box.get_by_role('button', name='Reset').click()
    box.get_by_role('button', name='One step').click()
    expect(box.get_by_role('status')).to_have_text(first)  # from the same weights

SPECIAL = {'pad': draw_digits, 'train': train_network}

def move_all(page, name): # every widget of a page
    for kind in 'rate', 'three', 'pad', 'softmax', 'kernel', 'train':
        box = page.locator(f'.digitlab-{kind}')
        if not box.count(): continue
        box.scroll_into_view_if_needed()
        shoot(page, f'{name}-{kind}-before')
        SPECIAL.get(kind, move_slider)(page, box)
        shoot(page, f'{name}-{kind}-after')


@each_notebook
def test_notebook(lab, chromium, path):
    (url, token), wrong = lab, []
    page = open_page(chromium, url, wrong)
    place = path.relative_to(ROOT/'nbs').as_posix()
    page.goto(f'{url}lab/workspaces/{path.stem}/tree/{place}?token={token}')
    page.wait_for_function(READY)
    page.locator('#jupyterlab-splash').wait_for(state='detached')
    page.get_by_role('menuitem', name='Run', exact=True).click()
    page.get_by_role('menuitem', name='Run All Cells', exact=True).click()
    end, state = time.monotonic() + LONGEST, page.evaluate(STATE)
    while not state['idle'] or not all(cell['ran'] for cell in state['cells']):
        assert time.monotonic() < end, f'{path.name} takes too long'
        time.sleep(.5)
        state = page.evaluate(STATE)
        assert [cell for cell in state['cells'] if cell['bad']] == []
    page.wait_for_timeout(2000)  # JupyterLab scrolls to the last cell
    move_all(page, f'lab-{path.stem}')
    call = r'(?!#\|)(.*\n)*show_widget\('
    asked = [cell for cell in state['cells'] if re.match(call, cell['source'])]
    assert page.locator('.digitlab').count() >= len(asked), 'a widget does not show'
    assert wrong == []
    page.evaluate('() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()')
    page.close()

def serious(page, name, scheme): # what axe finds; the dark theme has only other colors
    page.emulate_media(color_scheme=scheme, reduced_motion='reduce') # no color on its way
    rules = {'runOnly': ['color-contrast']} if scheme == 'dark' else {}
    parts = {} if 'show' in name else {'exclude': [['pre span']]} # code has its colors on every page
    found = Axe().run(page, context=parts or None, options=rules | {'preload': False})
    return [v for v in found.response['violations'] if v['impact'] in ('serious', 'critical')]

@pytest.mark.parametrize('width', [1280, 390])
def test_site(chromium, width):
    def serve(route): route.fulfill(path=SITE/urlsplit(route.request.url).path[1:])
    site, wrong = 'https://site.invalid/', []
    page = open_page(chromium, site, wrong, viewport={'width': width, 'height': 900})
    page.route(f'{site}**', serve)
    for name in sorted(p.relative_to(SITE).as_posix() for p in SITE.rglob('*.html')):
        page.goto(site + name)
        page.wait_for_load_state('networkidle')
        assert page.locator('.digitlab').count() == page.locator('.digitlab-widget').count(), name
        assert page.evaluate('() => document.documentElement.scrollWidth <= innerWidth'), name
        if width == 1280: assert page.evaluate(CUT) == [], f'{name}: lines are cut off'
        move_all(page, f'site-{name.replace("/", "-")}-{width}')
        assert serious(page, name, 'light') + serious(page, name, 'dark') == [], name
        assert wrong == [], name

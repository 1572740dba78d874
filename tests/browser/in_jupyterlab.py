"""Every notebook in JupyterLab, driven by headless Chromium: `make browser`. A plain `pytest` doesn't collect this file, for its name.

JupyterLab runs on the loopback over a copy of nbs/, with settings of its own. Each notebook is opened and run by the menu; any error,
warning on stderr or error in the browser's console fails it. Then the widgets are used by hand. Pictures are kept in tests/browser/shots."""
import json, os, re, secrets, shutil, socket, subprocess, sys, time
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from urllib.request import Request, urlopen

import nbformat, pytest
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import expect, sync_playwright

ROOT = Path(__file__).parents[2]
SHOTS = Path(__file__).parent/'shots'
NOTEBOOKS = sorted((ROOT/'nbs').glob('*.ipynb'))
LONGEST = 1200  # seconds that a notebook may take; one takes about a minute
SLOWEST = 3     # seconds from a key to the slider's new picture; it takes about a quarter of one
SETTINGS = {
    'notebook-extension/tracker': {'windowingMode': 'none'},  # cells off screen are rendered too
    'docmanager-extension/plugin': {'autosave': False},  # the front page reads the outputs of lesson 6 as they were
    'apputils-extension/notification': {'fetchNews': 'false', 'checkForUpdates': False},  # no network
}
STATE = """() => {
  const {content, sessionContext} = window.jupyterapp.shell.currentWidget
  const cells = [...content.widgets].map(w => w.model).filter(m => m.type === 'code' && m.sharedModel.getSource().trim())
  const bad = o => o.output_type === 'error' || o.name === 'stderr'
  return {kernel: sessionContext.session?.kernel?.status ?? 'none', lost: window.lost, cells: cells.map(m => ({
    source: m.sharedModel.getSource(), ran: m.executionCount !== null, bad: m.outputs.toJSON().filter(bad)}))}
}"""
WATCH = """() => {
  window.lost = []
  const ends = (_, status) => /restarting|terminating|dead/.test(status) && window.lost.push(status)
  window.jupyterapp.shell.currentWidget.sessionContext.statusChanged.connect(ends)
}"""


class Failed(AssertionError):
    "What a notebook did in the browser"


def wait_for(condition, seconds, what):
    "Wait until `condition` gives something true"
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end: raise Failed(f'{what}: waited {seconds} s in vain')
        time.sleep(.2)
    return found


class Lab:
    "A JupyterLab server over the folder `notebooks`, with all it writes in the folder `home`"
    def __init__(self, notebooks, home):
        settings, self.token, self.notebooks, self.info = home/'settings', secrets.token_hex(24), notebooks, home/'runtime'
        for name, values in SETTINGS.items():
            path = settings/'@jupyterlab'/f'{name}.jupyterlab-settings'
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values), encoding='utf-8')
        with socket.socket() as s:
            s.bind(('127.0.0.1', 0))
            port = s.getsockname()[1]
        words = ['--no-browser', '--expose-app-in-browser', '--ServerApp.ip=127.0.0.1', f'--ServerApp.port={port}',
                 f'--ServerApp.root_dir={notebooks}', '--LabApp.extension_manager=readonly',
                 f'--LabApp.user_settings_dir={settings}', f'--LabApp.workspaces_dir={home/"workspaces"}']
        env = os.environ | {'JUPYTER_TOKEN': self.token, 'JUPYTER_CONFIG_DIR': str(home/'config'), 'JUPYTER_DATA_DIR': str(home/'data'),
                            'JUPYTER_RUNTIME_DIR': str(self.info), 'IPYTHONDIR': str(home/'ipython'), 'PYTHONUNBUFFERED': '1',
                            'PATH': f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'}
        env.setdefault('OMP_WAIT_POLICY', 'PASSIVE')  # as in the Makefile
        root = ['--allow-root'] * (getattr(os, 'geteuid', lambda: 1)() == 0)
        self.log = (home/'server.log').open('w', encoding='utf-8')
        self.process = subprocess.Popen([sys.executable, '-m', 'jupyterlab', *words, *root], env=env, stdout=self.log, stderr=self.log)
        self.url = wait_for(self.answers, 120, 'the start of JupyterLab')

    def answers(self): # its address, once it answers; the port is another if somebody took it meanwhile
        if self.process.poll() is not None: raise Failed(f'JupyterLab ended at once:\n{Path(self.log.name).read_text(encoding="utf-8")}')
        try:
            self.url = json.loads((self.info/f'jpserver-{self.process.pid}.json').read_text())['url']
            self.request('api')
            return self.url
        except (OSError, ValueError): return None

    def request(self, path, method='GET'):
        request = Request(f'{self.url}{path}', method=method, headers={'Authorization': f'token {self.token}'})
        with urlopen(request, timeout=60) as answer: return json.loads(answer.read() or 'null')

    def end_kernels(self):
        for session in self.request('api/sessions'): self.request(f'api/sessions/{session["id"]}', 'DELETE')

    def close(self):
        try: self.end_kernels()
        finally:
            self.process.terminate()
            self.process.wait(60)
            self.log.close()


@pytest.fixture(scope='session')
def lab(tmp_path_factory):
    shutil.rmtree(SHOTS, ignore_errors=True)
    SHOTS.mkdir()
    home = tmp_path_factory.mktemp('lab')
    shutil.copytree(ROOT/'nbs', home/'nbs', ignore=shutil.ignore_patterns('.ipynb_checkpoints'))
    for path in (home/'nbs').glob('*.ipynb'):
        notebook = nbformat.read(path, 4)
        for cell in notebook.cells:
            if cell.cell_type != 'code': continue
            cell.execution_count = None
            if not os.environ.get('DIGITLAB_MNIST'): # nothing is fetched
                cell.source = re.sub(r"^(source = |digits = read_digits\()'auto'", r"\1'digits'", cell.source, flags=re.M)
        nbformat.write(notebook, path)
    server = Lab(home/'nbs', home)
    yield server
    server.close()


@pytest.fixture(scope='session')
def chromium():
    found = [p for p in (os.environ.get('CHROMIUM'), '/usr/bin/chromium') if p and Path(p).exists()]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found[0] if found else None)
        yield browser
        browser.close()


@contextmanager
def opened(lab, chromium, name):
    "The page of a notebook whose kernel is ready; at the end, errors of the page raise"
    context = chromium.new_context(viewport={'width': 1280, 'height': 900})
    context.set_default_timeout(120_000)
    page, errors = context.new_page(), []
    def route(route):
        if route.request.resource_type == 'image': route.fulfill(status=200, content_type='image/svg+xml', body='<svg xmlns="http://www.w3.org/2000/svg"/>')
        else:
            errors.append(f'the page asked for {route.request.url}')
            route.abort()
    context.route(lambda url: not url.startswith((lab.url, 'data:', 'blob:')), route)  # a badge may be fetched from elsewhere; nothing else
    page.on('pageerror', lambda error: errors.append(f'{error.name}: {error.message}\n{error.stack}'))
    page.on('console', lambda m: errors.append(f'{m.text} ({m.location.get("url")})') if m.type == 'error' else None)
    page.on('crash', lambda _: errors.append('the page crashed'))
    try:
        page.goto(f'{lab.url}lab/workspaces/{Path(name).stem}/tree/{name}?token={lab.token}')
        page.wait_for_function('() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === "idle"')
        page.locator('#jupyterlab-splash').wait_for(state='detached')
        page.evaluate(WATCH)
        yield page
        if errors: raise Failed(f'{name}: errors in the browser:\n' + '\n'.join(errors))
    except Exception:
        page.screenshot(path=SHOTS/f'{Path(name).stem}-failed.png')
        raise
    finally:
        context.close()
        lab.end_kernels()


def run_all(page, name):
    "Run > Run All Cells, until every code cell has run; errors raise with the source of their cell"
    page.get_by_role('menuitem', name='Run', exact=True).click()
    page.get_by_role('menuitem', name='Run All Cells', exact=True).click()
    busy = time.monotonic()
    def done():
        nonlocal busy
        state = page.evaluate(STATE)
        for cell in state['cells']:
            for output in cell['bad']:
                told = re.sub(r'\x1b\[[\d;]*[A-Za-z]', '', '\n'.join(output.get('traceback', [])) or output['text'])
                told = re.sub(r'[^\r\n]*\d%\|[^\r\n]*', '', told).strip()  # bars of progress are no warning
                if told: raise Failed(f'{name}: a cell fails or warns\n\n{cell["source"]}\n\n{told}')
        left = [cell['source'] for cell in state['cells'] if not cell['ran']]
        if state['kernel'] == 'busy': busy = time.monotonic()
        if state['lost'] or left and time.monotonic() > busy + 60: raise Failed(f'{name}: the kernel stopped ({", ".join(state["lost"]) or "idle"}) before\n\n{left[0]}')
        return state['kernel'] == 'idle' and not left
    wait_for(done, LONGEST, f'{name}: running all cells')


REDRAWN = """(box, most) => {
  const before = box.querySelector('img').src
  window.redrawn = new Promise(done => {
    let pressed = NaN
    box.addEventListener('keydown', () => { pressed = performance.now() }, { capture: true, once: true })
    const given_up = setTimeout(() => done(null), most)
    const watch = new MutationObserver(async () => {
      const image = box.querySelector('img')
      if (!image || image.src === before) return
      watch.disconnect()
      clearTimeout(given_up)
      await image.decode()
      requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - pressed)))
    })
    watch.observe(box, { childList: true, subtree: true, attributes: true })
  })
}"""

def move_slider(page):
    "The slider over the learning rate: keys and mouse change picture and words, soon enough"
    box = page.locator('.jp-OutputArea-output', has=page.locator('.widget-slider'))
    handle, picture, words = box.locator('.ui-slider-handle'), box.locator('img'), box.get_by_role('status')
    box.scroll_into_view_if_needed()
    seen, times = [], []
    def press(key): # and wait for the picture on the screen
        box.evaluate(REDRAWN, 2000*SLOWEST)
        handle.press(key)
        took = page.evaluate('window.redrawn')
        assert took is not None, f'{key} on the slider changed nothing in {2*SLOWEST} s'
        times.append(took/1000)
        assert times[-1] < SLOWEST, f'{key} on the slider took {times[-1]:.2f} s; expected less than {SLOWEST}'
    def look(rate, outcome): # what stands there now, after the move
        expect(words).to_contain_text(f'rate of {rate} ')
        expect(words).to_contain_text(f'The walk {outcome};')
        assert picture.evaluate('i => i.decode().then(() => i.naturalWidth)') > 300
        seen.append(picture.get_attribute('src'))
    look('0.80', 'bounces')
    page.screenshot(path=SHOTS/'slider-before.png')
    for rate, outcome in (('0.79', 'bounces'), ('0.78', 'arrives'), ('0.77', 'arrives'), ('0.76', 'arrives')):
        press('ArrowLeft')
        look(rate, outcome)
    press('Home')
    look('0.01', 'creeps')
    press('End')
    look('1.05', 'diverges')
    track, at = box.locator('.ui-slider').bounding_box(), handle.bounding_box()
    page.mouse.move(at['x'] + at['width']/2, at['y'] + at['height']/2)
    page.mouse.down()
    page.mouse.move(track['x'] + track['width']/2, at['y'] + at['height']/2, steps=8)
    page.mouse.up()
    expect(words).to_contain_text('The walk arrives;')
    seen.append(picture.get_attribute('src'))
    page.screenshot(path=SHOTS/'slider-after.png')
    assert len(set(seen)) == len(seen), 'the picture must change at every move'
    print(f'from key to picture: {median(times):.2f} s, at most {max(times):.2f} s')  # pytest -rP shows it


STROKES = {7: [(.25, .22), (.75, .22), (.42, .85)], 1: [(.5, .15), (.5, .85)]}  # as shares of the pad

def draw_digits(page):
    "The drawing pad: bars move while a digit is drawn, the small convnet names it, and Clear empties all"
    pad = page.locator('.digitlab-pad')
    pad.scroll_into_view_if_needed()
    paper, convnet = pad.locator('.paper'), pad.locator('[data-model="small convnet"]')
    def bars(): return pad.locator('.fill').evaluate_all('bars => bars.map(b => b.style.width)')
    def settled(): # the bars, once they no longer move
        before = bars()
        page.wait_for_timeout(500)
        return bars() if bars() == before else None
    empty = wait_for(settled, 60, 'the bars of the empty pad')
    for digit, strokes in STROKES.items():
        box, during = paper.bounding_box(), []
        points = [(box['x'] + x*box['width'], box['y'] + y*box['height']) for x, y in strokes]
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point, steps=10)
            during.append(wait_for(settled, 60, 'the bars while drawing'))
        page.mouse.up()
        expect(convnet.locator('.digit')).to_have_text(str(digit))
        page.screenshot(path=SHOTS/f'pad-{digit}.png')
        assert empty not in during, 'the bars must move before the mouse is let go'
        assert len(points) == 2 or during[0] != during[-1], 'the bars must move with each stroke'
        pad.get_by_role('button', name='Clear').click()
        wait_for(lambda: bars() == empty, 60, 'Clear')
        assert not paper.evaluate('c => c.getContext("2d").getImageData(0, 0, c.width, c.height).data.some((v, i) => v && i % 4 < 3)')


PLAYS = {'03_sgd_quadratic': move_slider, '07_predict': draw_digits}

@pytest.mark.parametrize('name', [p.name for p in NOTEBOOKS], ids=lambda name: name.removesuffix('.ipynb'))
def test_notebook(lab, chromium, name):
    stem = name.removesuffix('.ipynb')
    with opened(lab, chromium, name) as page:
        run_all(page, name)
        page.locator('.jp-Notebook .jp-Cell').last.scroll_into_view_if_needed()
        page.screenshot(path=SHOTS/f'{stem}-end.png')
        if stem in PLAYS: PLAYS[stem](page)


@pytest.mark.parametrize('source, told', [
    ('values = [1, 2]\nvalues[2]', r'values\[2\].*IndexError: list index out of range'),
    ('import warnings\nwarnings.warn("old")', r'UserWarning: old'),
    ('from IPython.display import Javascript\nJavascript("console.error(\'loud\')")', r'errors in the browser:\nloud'),
    ('from IPython.display import HTML\nHTML("<script src=\'https://example.com/x.js\'></script>")', r'asked for https://example.com/x.js'),
    ('import os, time\ntime.sleep(2)\nos._exit(1)', r'the kernel stopped .*_exit'), # by then the browser knows that the first cell has run
], ids=['error', 'warning', 'console', 'network', 'kernel'])
def test_a_fault_is_noticed(lab, chromium, source, told, request):
    name = f'fault-{request.node.callspec.id}.ipynb'
    metadata = {'kernelspec': {'display_name': 'python3', 'language': 'python', 'name': 'python3'}}
    nbformat.write(new_notebook(cells=[new_code_cell('1 + 1'), new_code_cell(source)], metadata=metadata), lab.notebooks/name)
    with pytest.raises(Failed, match=f'(?s){told}'), opened(lab, chromium, name) as page:
        run_all(page, name)
        page.wait_for_timeout(500)
    (SHOTS/f'{Path(name).stem}-failed.png').unlink()


@pytest.mark.parametrize('callback, told', [
    ('lambda change: None', 'ArrowLeft on the slider changed nothing'),
    (f'lambda change: (__import__("time").sleep({SLOWEST + .5}), redraw(change))', r'ArrowLeft on the slider took 3\.\d\d s'),
], ids=['idle', 'slow'])
def test_a_faulty_slider_is_noticed(lab, chromium, callback, told, request):
    name, observe = f'slider-{request.node.callspec.id}.ipynb', "slider.observe(redraw, 'value')"
    notebook = nbformat.read(lab.notebooks/'03_sgd_quadratic.ipynb', 4)
    shown = next(i for i, cell in enumerate(notebook.cells) if 'display(rate_slider(' in cell.source)
    notebook.cells = [cell for cell in notebook.cells[:shown + 1] if cell.cell_type == 'code']
    [cell] = [cell for cell in notebook.cells if observe in cell.source]
    cell.source = cell.source.replace(observe, f"slider.observe({callback}, 'value')")
    nbformat.write(notebook, lab.notebooks/name)
    with pytest.raises(AssertionError, match=told), opened(lab, chromium, name) as page:
        run_all(page, name)
        move_slider(page)
    (SHOTS/f'{Path(name).stem}-failed.png').unlink()

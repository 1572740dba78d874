"Record the pad of the site's home page for the README: `make docs`, and `python dev/record.py`"
import os, shutil
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright
from scipy.interpolate import make_interp_spline

ROOT = Path(__file__).parents[1]
SITE, RECORDING = ROOT/'dev'/'site'/'_site', ROOT/'nbs'/'images'/'pad.gif'
# through these points of the pad, as shares of its width and height, goes a 3
THREE = np.array([(.3, .26), (.5, .15), (.68, .28), (.47, .46), (.72, .66), (.5, .86), (.28, .74)])
CURVE = make_interp_spline(np.linspace(0, 1, len(THREE)), THREE)(np.linspace(0, 1, 81))


with sync_playwright() as playwright:
    found = os.environ.get('CHROMIUM') or shutil.which('chromium')
    browser = playwright.chromium.launch(executable_path=found, args=['--no-sandbox'])
    page = browser.new_page(viewport={'width': 1280, 'height': 900}, color_scheme='light')
    page.route('https://site.invalid/**',
               lambda route: route.fulfill(path=SITE/urlsplit(route.request.url).path[1:]))
    page.goto('https://site.invalid/index.html')
    page.wait_for_load_state('networkidle')
    page.get_by_role('button', name='Play').click()
    page.get_by_text('Stopped by itself').wait_for(timeout=300_000)
    page.get_by_role('heading', name='digitlab').scroll_into_view_if_needed()
    pad, paper = page.locator('.digitlab-pad'), page.locator('.digitlab-pad .paper').bounding_box()
    frames = []
    for i, (x, y) in enumerate(CURVE):
        page.mouse.move(paper['x'] + x*paper['width'], paper['y'] + y*paper['height'])
        if i % 4 == 0:
            page.wait_for_timeout(150)  # the models answer twenty times a second
            frames.append(Image.open(BytesIO(pad.screenshot())).convert('RGB').quantize(64))
        if i == 0: page.mouse.down()
frames[0].save(RECORDING, save_all=True, append_images=frames[1:], loop=0, optimize=True,
               duration=[600, *[130]*(len(frames) - 2), 3500])
print(f'{RECORDING}: {len(frames)} pictures, {RECORDING.stat().st_size:,} bytes')

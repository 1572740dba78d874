"What several tests need"
import os, subprocess, sys
from pathlib import Path

import nbformat, pytest
from hypothesis import HealthCheck, settings
from PIL import Image, ImageDraw

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT/'dev')]
os.environ.setdefault('MPLBACKEND', 'agg')
settings.register_profile('digitlab', deadline=None, derandomize=True, database=None,
                          suppress_health_check=list(HealthCheck))
settings.load_profile('digitlab')
LESSONS = [p for p in sorted((ROOT/'nbs').glob('[0-9]*.ipynb')) if '-Copy' not in p.name]
NOTEBOOKS = [*LESSONS, *sorted((ROOT/'nbs'/'appendix').glob('*.ipynb'))]
each_lesson = pytest.mark.parametrize('path', LESSONS, ids=lambda p: p.stem)
each_notebook = pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda p: p.stem)


def read(path): return nbformat.read(path, as_version=4)
def tagged(notebook, tag): return [c for c in notebook.cells if tag in c.metadata.get('tags', [])]
def draw_seven(size=(100, 100), width=9, paper=255):
    "A 7 in black on white, or the other way round if the paper is 0"
    image, points = Image.new('L', size, paper), ((.25, .2), (.75, .2), (.45, .85))
    line = [(x*size[0], y*size[1]) for x, y in points]
    ImageDraw.Draw(image).line(line, 255 - paper, width, 'curve')
    return image

@pytest.fixture
def python():
    "Runs a command line of Python's and gives back what it prints"
    def run(*words):
        return subprocess.check_output([sys.executable, *map(str, words)], cwd=ROOT, text=True)
    return run

@pytest.fixture
def shown(monkeypatch):
    "What is displayed: pictures and bundles"
    found = []
    monkeypatch.setattr('IPython.display.display', lambda what, **_: found.append(what))
    return found

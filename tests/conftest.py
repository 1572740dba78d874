"What several tests need"
import os, subprocess, sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT/'dev')]
os.environ.setdefault('MPLBACKEND', 'agg')


@pytest.fixture
def python():
    "Runs a command line of Python's and gives back what it prints"
    def run(*words):
        done = subprocess.run([sys.executable, *map(str, words)], cwd=ROOT, text=True,
                              capture_output=True, check=True)
        return done.stdout
    return run

@pytest.fixture
def shown(monkeypatch):
    "What is displayed: pictures and bundles"
    found = []
    monkeypatch.setattr('IPython.display.display', lambda what, **_: found.append(what))
    return found

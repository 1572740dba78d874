"A short run of fuzz.py; `make faults` runs a longer one"
import subprocess, sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).with_name('fuzz.py')

@pytest.mark.parametrize('inputs', [2000, pytest.param(20_000, marks=pytest.mark.slow)])
def test_spoiled_files_are_refused_as_documented(tmp_path, inputs):
    done = subprocess.run([sys.executable, FUZZ, '--inputs', str(inputs), '--seed', '3', '--keep', tmp_path/'findings'], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.rstrip().endswith(' 0 findings'), done.stdout + done.stderr

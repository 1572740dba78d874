"A file is there as a whole, whatever happens while it is written"
import subprocess

import pytest

from digitlab.files import atomic_write


def test_atomic_write(tmp_path):
    "At every moment there is the old or the new, whatever fails, and neighbors stay"
    path, neighbor = tmp_path/'deep'/'note.txt', tmp_path/'deep'/'.part-other'
    with atomic_write(path) as part: part.write_text('old')
    neighbor.mkdir()
    with pytest.raises(OSError, match='No space left'), atomic_write(path) as part:
        part.write_text('half')
        assert path.read_text() == 'old'
        raise OSError(28, 'No space left on device')
    assert path.read_text() == 'old'
    with atomic_write(path) as part: part.write_text('new')
    assert path.read_text() == 'new' and sorted(path.parent.iterdir()) == [neighbor, path]

def test_killed_while_writing(tmp_path, python):
    path = tmp_path/'note.txt'
    path.write_text('old')
    with pytest.raises(subprocess.CalledProcessError, match='SIGKILL'): python('-c', f"""import os
from digitlab.files import atomic_write
with atomic_write({str(path)!r}) as part:
    part.write_text('half')
    os.kill(os.getpid(), 9)""")
    assert path.read_text() == 'old'

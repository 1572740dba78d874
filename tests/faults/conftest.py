import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    "Every test has a home and a cache of its own, no MNIST, and one thread"
    for name in ('DIGITLAB_MNIST', 'FASTAI_HOME', 'XDG_CACHE_HOME'): monkeypatch.delenv(name, raising=False)
    for name, value in dict(HOME=tmp_path/'home', DIGITLAB_CACHE=tmp_path/'cache', OMP_NUM_THREADS=1, TQDM_DISABLE=1).items(): monkeypatch.setenv(name, str(value))
    (tmp_path/'home').mkdir()


@pytest.fixture(scope='session')
def expected(tmp_path_factory):
    "What a preparation prints that nobody disturbs"
    from harm import PREPARE, Python
    status, out, err = Python(PREPARE, 'digits', DIGITLAB_CACHE=str(tmp_path_factory.mktemp('undisturbed')), OMP_NUM_THREADS='1', TQDM_DISABLE='1').wait()
    assert status == 0, err
    return out

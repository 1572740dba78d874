"What lesson 1 can't show: machines other than this one"
import pytest, torch

from digitlab.tensors import pick_device


@pytest.mark.parametrize('cuda, mps, expected', [(True, True, 'cuda'), (False, True, 'mps'),
                                                 (False, False, 'cpu')])
def test_auto_takes_the_fastest_device(cuda, mps, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, 'is_available', lambda: mps)
    assert pick_device() == pick_device('auto') == torch.device(expected)

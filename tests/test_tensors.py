"What lesson 1 can't show: machines other than this one"
import pytest, torch

from digitlab.tensors import make_generator, pick_device, scale_pixels


@pytest.mark.parametrize('cuda, mps, expected', [(True, True, 'cuda'), (False, True, 'mps'),
                                                 (False, False, 'cpu')])
def test_auto_takes_the_fastest_device(cuda, mps, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, 'is_available', lambda: mps)
    assert pick_device() == pick_device('auto') == torch.device(expected)


def test_pixels_stay_on_their_device():
    "'meta' is a device that computes shapes only"
    pixels = torch.zeros(2, 28, 28, dtype=torch.uint8, device='meta')
    scaled = scale_pixels(pixels)
    assert (scaled.device.type, scaled.shape) == ('meta', pixels.shape)


def test_the_generator_draws_where_it_was_asked_to(monkeypatch):
    asked = []
    real = torch.Generator
    monkeypatch.setattr(torch, 'Generator', lambda device: asked.append(device) or real())
    make_generator(1, 'cuda')
    assert asked == ['cuda']

"The convnet's parts"
import pytest, torch
from torch.nn import functional as F

from digitlab.convnet import PixelInput, ShiftedBatches
from digitlab.tensors import make_generator, scale_pixels

IMAGES = torch.randint(256, (6, 28, 28), dtype=torch.uint8, generator=make_generator(1))


def test_bytes_and_floats_give_the_same_in_each_channel():
    pixels = scale_pixels(IMAGES)
    for x in IMAGES, pixels: assert torch.equal(PixelInput(3)(x), torch.stack([pixels]*3, 1))

@pytest.mark.parametrize('by, settings', [(1, {}), (2, dict(generator=make_generator(3), by=2))])
def test_shifted_batches(by, settings):
    batches, turned_up = ShiftedBatches(IMAGES, torch.arange(6), 4, **settings), 0
    for x, y in (pair for _ in range(150) for pair in batches):
        moves = F.pad(IMAGES[y], (by,)*4).unfold(1, 28, 1).unfold(2, 28, 1)
        same = (moves == x[:, None, None]).flatten(3).all(3)  # [images, down, right]
        assert same.sum((1, 2)).eq(1).all() and (same == same[0]).all(), 'one move for a batch'
        turned_up = turned_up + same[0]
    assert turned_up.shape == (2*by + 1,)*2 and turned_up.all(), 'every move turns up'

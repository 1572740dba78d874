"The convnet's parts"
from itertools import chain

import pytest, torch
from torch import nn
from torch.nn import functional as F

from digitlab.convnet import PixelInput, ResidualBlock, ShiftedBatches, small_convnet
from digitlab.tensors import make_generator, scale_pixels

IMAGES = torch.randint(256, (6, 28, 28), dtype=torch.uint8, generator=make_generator(1))


def test_bytes_and_floats_give_the_same():
    model = small_convnet(make_generator(0)).eval()
    assert torch.equal(model(IMAGES), model(scale_pixels(IMAGES)))
    assert sum(p.numel() for p in model.parameters()) == 29_178
    assert torch.equal(PixelInput(3)(IMAGES)[:, 2], scale_pixels(IMAGES))

@pytest.mark.parametrize('by, settings', [(1, {}), (2, dict(generator=make_generator(3), by=2))])
def test_shifted_batches(by, settings):
    batches, turned_up = ShiftedBatches(IMAGES, torch.arange(6), 4, **settings), 0
    for x, y in chain.from_iterable([batches]*150):
        moves = F.pad(IMAGES[y], (by,)*4).unfold(1, 28, 1).unfold(2, 28, 1)
        same = (moves == x[:, None, None]).flatten(3).all(3)  # [images, down, right]
        assert same.sum((1, 2)).eq(1).all() and (same == same[0]).all(), 'one move for a batch'
        turned_up = turned_up + same[0]
    assert turned_up.shape == (2*by + 1,)*2 and turned_up.all(), 'every move turns up'
    if not settings: assert y.tolist() == [4, 5]

def test_block_without_weights_is_its_shortcut():
    block = ResidualBlock(4)
    for norm in block.layers:
        if isinstance(norm, nn.BatchNorm2d): nn.init.zeros_(norm.weight)
    x = torch.randn(2, 4, 5, 5, generator=make_generator(0))
    assert torch.equal(block(x), x.relu())

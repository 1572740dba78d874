"What lesson 5 doesn't show: all kinds of scores, and that no other generator is used"
import math

import pytest, torch
import torch.nn.functional as F
from hypothesis import given, strategies as st

from digitlab.mlp import digit_cross_entropy, linear_model, mlp, sigmoid_mse, softmax_mse
from digitlab.tensors import make_generator

def hot(logits, y): return F.one_hot(y, logits.shape[1]).to(logits.dtype)

THEIRS = {digit_cross_entropy: F.cross_entropy,
          sigmoid_mse: lambda x, y: F.mse_loss(x.sigmoid(), hot(x, y)),
          softmax_mse: lambda x, y: F.mse_loss(x.softmax(1), hot(x, y))}
each_loss = pytest.mark.parametrize('loss', THEIRS, ids=lambda f: f.__name__)


@each_loss
@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(2, 12), st.floats(0, 900))
def test_values_and_gradients_are_pytorchs(loss, seed, n, c, scale):
    generator = make_generator(seed)
    logits = (torch.randn(n, c, generator=generator, dtype=torch.float64)*scale).requires_grad_()
    y = torch.randint(0, c, (n,), generator=generator)
    ours, theirs = ((value, *torch.autograd.grad(value, logits))
                    for value in (loss(logits, y), THEIRS[loss](logits, y)))
    for a, b in zip(ours, theirs): torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)

def test_ties_and_infinite_logits():
    logits = torch.tensor([[1000., 1000, 1000], [0, -math.inf, 0]], requires_grad=True)
    y = torch.tensor([1, 0])
    ours, theirs = (torch.autograd.grad(f(logits, y), logits)[0]
                    for f in (digit_cross_entropy, F.cross_entropy))
    torch.testing.assert_close(ours, theirs)

def test_global_generator_is_left_alone():
    before = torch.get_rng_state()
    linear_model(make_generator(0)), mlp((784, 8, 10), make_generator(0))
    assert torch.equal(before, torch.get_rng_state())

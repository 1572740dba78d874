"What notebook 05 doesn't teach: the bad input that its losses and builders refuse, and that they leave nothing behind"
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from digitlab.mlp import digit_cross_entropy, linear_model, mlp, sigmoid_mse, softmax_mse
from digitlab.tensors import make_generator

LOSSES = [sigmoid_mse, softmax_mse, digit_cross_entropy]
each_loss = pytest.mark.parametrize('loss', LOSSES)


@each_loss
@pytest.mark.parametrize('shape', [(5,), (5, 1), (5, 2, 2), ()])
def test_logits(loss, shape):
    with pytest.raises(ValueError, match=r'logits have shape .*; expected \[N,C\] .*use mnist_loss'):
        loss(torch.zeros(shape), torch.zeros(5, dtype=torch.long))

@each_loss
@pytest.mark.parametrize('shape, remedy', [((4,), 'targets of the same images'), ((), 'targets of the same images'),
                                           ((5, 1), r'targets.squeeze\(1\)'), ((5, 3), r'targets.argmax\(1\)')])
def test_shape_of_targets(loss, shape, remedy):
    with pytest.raises(ValueError, match=f"don't match; expected one class for each image: use .*{remedy}"):
        loss(torch.zeros(5, 3), torch.zeros(shape, dtype=torch.long))

@each_loss
@pytest.mark.parametrize('label', [-1, -100, 3])
def test_values_of_targets(loss, label):
    with pytest.raises(ValueError, match=f'targets hold {label}; expected 0 to 2: mend them'):
        loss(torch.zeros(2, 3), torch.tensor([0, label]))

@each_loss
def test_empty_batch(loss):
    with pytest.raises(ValueError, match='the batch is empty; expected one image or more'):
        loss(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long))

@each_loss
@pytest.mark.parametrize('kind', [torch.uint8, torch.int32, torch.int64])
def test_labels_of_any_width(loss, kind):
    logits, targets = torch.randn(4, 3, generator=make_generator(0)), torch.tensor([0, 2, 1, 1])
    assert loss(logits, targets.to(kind)) == loss(logits, targets)

@each_loss
def test_gradient(loss):
    logits = torch.randn(4, 3, generator=make_generator(0), dtype=torch.float64, requires_grad=True)
    assert loss(logits, torch.tensor([0, 2, 1, 1])).dtype == torch.float64
    assert torch.autograd.gradcheck(lambda z: loss(z, torch.tensor([0, 2, 1, 1])), logits)

def test_ties_and_infinite_logits():
    logits = torch.tensor([[1000., 1000, 1000], [0, -math.inf, 0]], requires_grad=True)
    targets = torch.tensor([1, 0])
    ours, theirs = (torch.autograd.grad(loss(logits, targets), logits)[0] for loss in (digit_cross_entropy, F.cross_entropy))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize('sizes', [(), (784,), (784, 0), (784, -1, 10), (784, 64., 10)])
def test_sizes(sizes):
    with pytest.raises(ValueError, match='sizes are .*; expected two whole numbers or more'): mlp(sizes, make_generator(0))

@pytest.mark.parametrize('scale', [-0.1, math.nan, math.inf])
@pytest.mark.parametrize('build', [linear_model, lambda g, scale: mlp((4, 3, 2), g, scale=scale)])
def test_scale(build, scale):
    with pytest.raises(ValueError, match=f'scale is {scale}; expected a finite number'): build(make_generator(0), scale=scale)

@pytest.mark.parametrize('build', [linear_model, lambda g: mlp((4, 3, 2), g)])
@pytest.mark.parametrize('generator', [0, None])
def test_generator(build, generator):
    with pytest.raises(TypeError, match=rf'generator is {generator}; expected a torch.Generator: use make_generator\(42\)'): build(generator)

def test_builders_leave_the_global_generator_alone():
    before = torch.get_rng_state()
    linear_model(make_generator(0)), mlp((784, 8, 10), make_generator(0))
    assert torch.equal(before, torch.get_rng_state())

def test_one_generator_gives_one_model_after_another():
    generator = make_generator(0)
    first, second = (mlp((4, 3, 2), generator) for _ in range(2))
    again = mlp((4, 3, 2), make_generator(0))
    assert torch.equal(first[1].weight, again[1].weight) and not torch.equal(first[1].weight, second[1].weight)

def test_every_hidden_layer_has_an_activation_of_its_own():
    model = mlp((784, 8, 6, 4), make_generator(0), nn.Tanh)
    assert [type(m) for m in model] == [nn.Flatten, nn.Linear, nn.Tanh, nn.Linear, nn.Tanh, nn.Linear]
    assert model[2] is not model[4] and model(torch.zeros(2, 28, 28)).shape == (2, 4)
    assert all(p.requires_grad and p.is_leaf for p in model.parameters())

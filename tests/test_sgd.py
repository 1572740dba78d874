"What notebook 03 doesn't teach: the bad input that `descend` refuses, and that it leaves nothing behind"
import math, sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from digitlab.sgd import Descent, descend, someone_watches


def square(x): return (x**2).sum()

START = torch.tensor([-1.5, 2.])


@pytest.mark.parametrize('lr', [0, -0.1, math.nan, math.inf, torch.tensor(-1.)])
def test_rate(lr):
    with pytest.raises(ValueError, match=r'lr is .*expected a finite number above 0; start with'): descend(square, START, lr, 1)


@pytest.mark.parametrize('steps', [-1, 2.5, '3'])
def test_steps(steps):
    with pytest.raises(ValueError, match=rf'steps is {steps}; expected a whole number, 0 or more'): descend(square, START, 0.1, steps)


@pytest.mark.parametrize('params, kind', [([1., 2.], 'list'), (np.ones(2), 'ndarray'), (torch.arange(2), 'torch.int64'),
                                          (torch.ones(2, dtype=torch.cfloat), 'torch.complex64')])
def test_params(params, kind):
    with pytest.raises(TypeError, match=f'params is of type {kind}; expected a tensor of floats; use'): descend(square, params, 0.1, 1)


@pytest.mark.parametrize('loss', [lambda x: 3., lambda x: square(x).item(), lambda x: square(x).detach(), lambda x: torch.tensor(1.)])
@pytest.mark.parametrize('steps', [0, 1])
def test_loss_without_gradient(loss, steps):
    with pytest.raises(ValueError, match='the loss has no gradient; expected .* leave out .item'): descend(loss, START, 0.1, steps)


@pytest.mark.parametrize('loss, shape', [(lambda x: x**2, r'\[2\]'), (lambda x: square(x)[None], r'\[1\]')])
def test_loss_of_a_rank_above_0(loss, shape):
    with pytest.raises(ValueError, match=rf'the loss has shape {shape}; expected one number .*mean'): descend(loss, START, 0.1, 1)


def test_loss_that_does_not_depend_on_params():
    other = torch.ones(2, requires_grad=True)
    with pytest.raises(ValueError, match='the gradient is None; expected a loss that depends on params'): descend(lambda x: square(other), START, 0.1, 1)
    assert other.grad is None


@pytest.mark.parametrize('bad', [math.nan, math.inf])
def test_start_that_is_not_finite(bad):
    with pytest.raises(ValueError, match='before the first step.*look for nan or inf'): descend(square, torch.tensor([1., bad]), 0.1, 1)


def test_loss_that_overflows_on_the_way_names_the_step():
    with pytest.raises(ValueError, match=r'the loss is inf after step 15 with lr=10; .* use a smaller lr'): descend(square, START[:1], 10, 99)
    assert descend(square, START[:1], 10, 14).losses.isfinite().all()


def test_gradient_that_is_not_finite():
    with pytest.raises(ValueError, match='the gradient after step 0 holds nan or inf'): descend(lambda x: x.sqrt().sum(), torch.zeros(2), 0.1, 1)


def test_no_steps_give_the_start():
    descent = descend(square, START, 0.1, 0)
    assert isinstance(descent, Descent) and descent.params.tolist() == [START.tolist()] and descent.losses.tolist() == [6.25]


@pytest.mark.parametrize('shape', [(), (3,), (2, 3)])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_shape_and_dtype_are_those_of_params(shape, dtype):
    params = torch.ones(shape, dtype=dtype)
    descent = descend(square, params, 0.1, np.int64(4))
    assert descent.params.shape == (5, *shape) and descent.losses.shape == (5,) and descent.params.dtype == dtype
    assert torch.allclose(descent.params[-1], 0.8**4 * params)


def test_nothing_is_left_behind():
    params, other = START.clone().requires_grad_(), torch.tensor(3., requires_grad=True)
    with torch.no_grad(): first = descend(lambda x: square(x) * other, params, 0.1, 3)
    second = descend(lambda x: square(x) * other, params, 0.1, 3)
    assert torch.equal(first.params, second.params) and torch.equal(params, START)
    assert params.grad is None and other.grad is None and not second.params.requires_grad and not second.losses.requires_grad


def test_loss_that_is_the_parameter_itself():
    assert descend(lambda x: x, torch.tensor(1.), 0.25, 2).losses.tolist() == [1., 0.75, 0.5]


@pytest.mark.parametrize('metadata, colab, watched', [({'cellId': 'a'}, False, True), ({}, True, True), ({}, False, False), (None, True, False)])
def test_someone_watches(monkeypatch, metadata, colab, watched):
    "A front end sends the cell's id with its code; where there is no kernel nobody looks"
    shell = SimpleNamespace() if metadata is None else SimpleNamespace(kernel=SimpleNamespace(get_parent=lambda: {'metadata': metadata}))
    monkeypatch.setattr('IPython.get_ipython', lambda: shell)
    if colab: monkeypatch.setitem(sys.modules, 'google.colab', shell)
    assert someone_watches() == watched

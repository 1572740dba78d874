"What lesson 3 doesn't show: what the step and the loop refuse, and what they leave behind"
import math

import pytest
import torch

from digitlab.sgd import descend, sgd_step

DEVICES = ['cpu', *['cuda'] * torch.cuda.is_available()]


def with_grad(*values, device='cpu'):
    x = torch.tensor(values, device=device).requires_grad_()
    (x**2).sum().backward()
    return x


@pytest.mark.parametrize('device', DEVICES)
def test_step_moves_in_place_and_clears(device):
    a, b = params = [with_grad(1., -2., device=device), with_grad(3., device=device)]
    sgd_step(params, 0.25)
    assert a.tolist() == [0.5, -1] and b.tolist() == [1.5]
    assert a.grad is None and b.grad is None and a.requires_grad and a.is_leaf


@pytest.mark.parametrize('lr', [0, -0.1, math.nan, math.inf])
def test_step_refuses_a_rate(lr):
    x = with_grad(1.)
    with pytest.raises(ValueError, match='lr must be positive and finite'): sgd_step([x], lr)
    assert x.item() == 1


def test_two_steps_need_two_backwards():
    x = with_grad(1.)
    sgd_step([x], 0.1)
    with pytest.raises(TypeError): sgd_step([x], 0.1)
    assert x.item() == pytest.approx(0.8)


@pytest.mark.parametrize('device', DEVICES)
def test_descend_follows_the_closed_form(device):
    x = torch.tensor([-1.5], device=device, requires_grad=True)
    losses = descend(lambda: (x**2).sum(), [x], 0.1, [()] * 10)
    want = 1.5**2 * 0.64**torch.arange(10)
    assert torch.allclose(losses.cpu(), want) and not losses.requires_grad
    assert math.isclose(x.item(), -1.5 * 0.8**10, rel_tol=1e-5)


def test_each_batch_is_used_once_and_in_order():
    w, seen = torch.zeros(1, requires_grad=True), []
    def loss(x, y):
        seen.append((x.item(), y.item()))
        return ((w * x - y)**2).mean()
    batches = [(torch.tensor([float(i)]), torch.tensor([2. * i])) for i in range(3)]
    losses = descend(loss, [w], 0.05, iter(batches))
    assert seen == [(0, 0), (1, 2), (2, 4)] and losses.shape == (3,)


def test_parameters_of_a_module_are_stepped_every_time():
    "`parameters()` is a generator, which would be used up after one step"
    torch.manual_seed(0)
    model, x = torch.nn.Linear(2, 1), torch.ones(4, 2)
    losses = descend(lambda x: (model(x)**2).mean(), model.parameters(), 0.05, [(x,)] * 5)
    assert (losses.diff() < 0).all()


def test_a_loss_that_runs_away_is_named():
    x = torch.tensor([1.], requires_grad=True)
    with pytest.raises(ValueError, match='not finite: use a smaller lr than 10'): descend(lambda: (x**2).sum(), [x], 10, [()] * 50)

"What lesson 3 doesn't show: many steps in closed form, and parameters as a module gives them"
import pytest, torch

from digitlab.sgd import descend


@pytest.mark.parametrize('device', ['cpu'] + ['cuda']*torch.cuda.is_available())
def test_descend_follows_the_closed_form(device):
    x = torch.tensor([-1.5], device=device, requires_grad=True)
    (x**2).sum().backward()  # someone has looked at the slope before
    losses = descend(lambda: (x**2).sum(), [x], 0.1, [()] * 10)
    want = 1.5**2 * 0.64**torch.arange(10)
    assert torch.allclose(losses.cpu(), want) and not losses.requires_grad
    assert x.item() == pytest.approx(-1.5 * 0.8**10, rel=1e-5)


def test_parameters_of_a_module_are_stepped_every_time():
    "`parameters()` is a generator, which would be used up after one step"
    torch.manual_seed(0)
    model, x = torch.nn.Linear(2, 1), torch.ones(4, 2)
    losses = descend(lambda x: (model(x)**2).mean(), model.parameters(), 0.05, [(x,)] * 5)
    assert (losses.diff() < 0).all()

"What the notebook 04_mnist_loss can't show: interruptions and odd metrics"

import pytest, torch
from torch import nn

from digitlab.learner import Batches, DigitLearner, History, digit_accuracy, mnist_loss, plain_step
from digitlab.tensors import make_generator


@pytest.fixture
def pair():
    "100 points with 5 inputs, and a yes or no for each"
    x = torch.randn(100, 5, generator=make_generator(0))
    return x, (x[:, :1] > 0).long()

def make_learner(x, y, valid=None, bs=32, **kwargs):
    torch.manual_seed(0)
    train = Batches(x, y, bs, make_generator(0))
    return DigitLearner(nn.Linear(5, 1), train, valid, mnist_loss, lr=1., **kwargs)


def test_frozen_parameters_modes_and_gradients(pair):
    frozen, seen = nn.Linear(5, 3).requires_grad_(False), []
    model = nn.Sequential(frozen, nn.ReLU(), nn.Linear(3, 1))
    model.register_forward_hook(lambda *_: seen.append((model.training, torch.is_grad_enabled())))
    before = frozen.weight.clone()
    DigitLearner(model, Batches(*pair, 50), Batches(*pair, 50), mnist_loss, 1.).fit(2)
    assert torch.equal(frozen.weight, before)
    assert seen == ([(True, True)]*2 + [(False, False)]*2)*2

def test_an_optimizer_of_torch_gets_fresh_gradients(pair):
    both = make_learner(*pair), make_learner(*pair, opt=torch.optim.SGD)
    for it in both: it.fit(2)
    assert torch.allclose(both[0].model.weight, both[1].model.weight, atol=1e-6)

def test_validation_counts_items_and_not_batches(pair):
    it = make_learner(*pair, valid=Batches(*pair, 99), metrics=[digit_accuracy])
    row, logits = it.fit(1)[0], it.model(pair[0])
    assert row['valid_loss'] == pytest.approx(mnist_loss(logits, pair[1]).item(), abs=1e-6)
    assert row['digit_accuracy'] == pytest.approx(digit_accuracy(logits, pair[1]).item(), abs=1e-6)

def test_ctrl_c_in_validation_keeps_the_columns(pair):
    it = make_learner(*pair, valid=Batches(*pair), metrics=[digit_accuracy])
    it.fit(2)
    def interrupted():
        yield pair
        raise KeyboardInterrupt
    it.valid = interrupted()
    with pytest.raises(KeyboardInterrupt): it.fit(1)
    frame = it.history.frame()
    assert list(frame) == ['train_loss', 'valid_loss', 'digit_accuracy']
    assert frame['valid_loss'].isna().tolist() == [False, False, True]
    assert list(History().frame()) == [] and 'epoch' in History()._repr_html_()

def test_loss_that_is_not_finite_in_validation(pair):
    x, y = pair
    it = make_learner(x, y, valid=Batches(torch.full_like(x, float('inf')), y))
    with pytest.raises(FloatingPointError, match='nan or inf in the validation'): it.fit(1)

def test_a_step_of_ones_own_and_a_buffer_that_is_used_again(pair):
    buffer = torch.zeros(())
    def step(learner, xb, yb): return buffer.copy_(plain_step(learner, xb, yb))
    it, same = make_learner(*pair, step=step), make_learner(*pair)
    assert it.fit(2)[1]['train_loss'] == pytest.approx(same.fit(2)[1]['train_loss'])
    assert torch.equal(it.model.weight, same.model.weight)

def test_a_scheduler_steps_after_each_batch(pair):
    rates = []
    def step(learner, xb, yb):
        rates.append(learner.opt.param_groups[0]['lr'])
        return plain_step(learner, xb, yb)
    it = make_learner(*pair, opt=torch.optim.SGD, step=step)
    it.fit(3, torch.optim.lr_scheduler.OneCycleLR(it.opt, max_lr=2., total_steps=12))
    assert len(rates) == 12 and max(rates) == pytest.approx(2., rel=0.05) and rates[-1] < 0.1

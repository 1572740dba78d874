"What the notebook 04_mnist_loss can't show: interruptions and odd metrics"
from functools import partial

import pytest
import torch
from torch import nn

from digitlab import learner as module
from digitlab.learner import Batches, DigitLearner, History, PlainSGD, digit_accuracy, mnist_loss


def generator(seed=0): return torch.Generator().manual_seed(seed)


@pytest.fixture
def pair():
    "100 points with 5 inputs, and a yes or no for each"
    x = torch.randn(100, 5, generator=generator())
    return x, (x[:, :1] > 0).long()


def make_learner(x, y, valid=None, bs=32, loss=mnist_loss, **kwargs):
    torch.manual_seed(0)
    return DigitLearner(nn.Linear(5, 1), Batches(x, y, bs, generator()), valid, loss, lr=1., **kwargs)


def test_order_depends_on_the_generator_alone():
    x = torch.arange(50)
    def first(seed): return torch.cat([xb for xb, _ in Batches(x, x, 8, generator(seed))]).tolist()
    once = first(3)
    torch.manual_seed(99)
    assert first(3) == once != first(4)
    batches = Batches(x, x, 8, generator(3))
    assert [xb.tolist() for xb, _ in batches] != [xb.tolist() for xb, _ in batches]   # a new order in each pass


@pytest.mark.parametrize('dtype', [torch.int64, torch.uint8, torch.bool, torch.float32])
def test_loss_and_accuracy_take_targets_of_any_type(dtype):
    logits, targets = torch.tensor([[2.], [-2.], [0.]]), torch.tensor([[1], [0], [1]]).to(dtype)
    assert digit_accuracy(logits, targets).item() == pytest.approx(2/3)
    assert mnist_loss(logits, targets).item() == pytest.approx((2*0.1192 + 0.5)/3, abs=1e-4)


def test_frozen_parameters_stay(pair):
    model = nn.Sequential(nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 1))
    model[0].requires_grad_(False)
    before = model[0].weight.clone()
    DigitLearner(model, Batches(*pair), None, mnist_loss, 1.).fit(2)
    assert torch.equal(model[0].weight, before)


def test_modes_and_gradients_in_training_and_validation(pair):
    seen = []
    class Spy(nn.Linear):
        def forward(self, x):
            seen.append((self.training, torch.is_grad_enabled()))
            return super().forward(x)
    DigitLearner(Spy(5, 1), Batches(*pair, 50), Batches(*pair, 50), mnist_loss, 1.).fit(2)
    assert seen == ([(True, True)]*2 + [(False, False)]*2)*2


def test_metrics_partial_number_and_names(pair):
    def always(value, logits, targets): return value
    it = make_learner(*pair, valid=Batches(*pair, 64), metrics=[digit_accuracy, partial(always, 0.5)])
    row = it.fit(1)[0]
    assert row['always'] == 0.5 and set(row) == {'epoch', 'train_loss', 'valid_loss', 'digit_accuracy', 'always'}
    def train_loss(logits, targets): return 0.
    for metrics in ([partial(always, 1.), partial(always, 2.)], [train_loss]):
        with pytest.raises(ValueError, match='different names'): make_learner(*pair, metrics=metrics)


def test_validation_counts_items_and_not_batches(pair):
    valid = Batches(*pair, 99)
    it = make_learner(*pair, valid=valid, metrics=[digit_accuracy])
    row = it.fit(1)[0]
    assert row['valid_loss'] == pytest.approx(mnist_loss(it.model(pair[0]), pair[1]).item(), abs=1e-6)
    assert row['digit_accuracy'] == pytest.approx(digit_accuracy(it.model(pair[0]), pair[1]).item(), abs=1e-6)


class Interrupted(Batches):
    "Someone presses Ctrl-C before the last batch"
    def __iter__(self):
        for i, batch in enumerate(super().__iter__()):
            if i == len(self) - 1: raise KeyboardInterrupt
            yield batch


def test_ctrl_c_in_training_keeps_history_and_parameters(pair):
    it, same = (make_learner(*pair, valid=Batches(*pair), metrics=[digit_accuracy]) for _ in range(2))
    it.fit(2), same.fit(2)
    it.train = Interrupted(*pair, 32, generator())
    with pytest.raises(KeyboardInterrupt): it.fit(10)
    assert [row['epoch'] for row in it.history] == [1, 2]
    assert not torch.equal(it.model.weight, same.model.weight)      # the steps of the third epoch are kept too
    it.train = Batches(*pair, 32, generator())
    assert [row['epoch'] for row in it.fit(1)] == [1, 2, 3]         # and training goes on from there


def test_ctrl_c_in_validation_keeps_the_columns(pair):
    it = make_learner(*pair, valid=Batches(*pair), metrics=[digit_accuracy])
    it.fit(2)
    it.valid = Interrupted(*pair, 32)
    with pytest.raises(KeyboardInterrupt): it.fit(1)
    frame = it.history.frame()
    assert list(frame) == ['train_loss', 'valid_loss', 'digit_accuracy'] and len(frame) == 3
    assert frame['valid_loss'].isna().tolist() == [False, False, True]
    assert list(History().frame()) == [] and 'epoch' in History()._repr_html_()


def test_loss_that_is_not_finite_in_validation(pair):
    x, y = pair
    it = make_learner(x, y, valid=Batches(torch.full_like(x, float('inf')), y))
    with pytest.raises(FloatingPointError, match='nan or inf in the validation'): it.fit(1)


def test_a_step_of_ones_own_and_a_buffer_that_is_used_again(pair):
    buffer = torch.zeros(())
    def step(learner, xb, yb):
        buffer.copy_(module.plain_step(learner, xb, yb))
        return buffer                                               # as a captured step does
    it, same = make_learner(*pair, step=step), make_learner(*pair)
    assert it.fit(2)[1]['train_loss'] == pytest.approx(same.fit(2)[1]['train_loss'])
    assert torch.equal(it.model.weight, same.model.weight)


def test_an_optimizer_of_pytorch(pair):
    ours, theirs = make_learner(*pair), make_learner(*pair, opt=torch.optim.SGD)
    ours.fit(3), theirs.fit(3)
    assert torch.allclose(ours.model.weight, theirs.model.weight, atol=1e-5)
    assert not module.plain_step(theirs, *pair).requires_grad


def test_schedule_steps_after_each_batch(pair):
    rates = []
    class Recorder(torch.optim.SGD):
        def step(self, *args, **kwargs):
            rates.append(self.param_groups[0]['lr'])
            return super().step(*args, **kwargs)
    it = make_learner(*pair, opt=Recorder)
    it.fit(3, schedule=partial(torch.optim.lr_scheduler.OneCycleLR, max_lr=2.))
    assert len(rates) == 12 and max(rates) == pytest.approx(2., rel=0.05) and rates[-1] < 0.1


def test_history_plots_with_and_without_metrics(pair, monkeypatch):
    shown = []
    monkeypatch.setattr(module, 'show_figure', lambda fig, alt: shown.append((len(fig.axes), alt)))
    make_learner(*pair).fit(2).plot('only a loss')
    make_learner(*pair, valid=Batches(*pair), metrics=[digit_accuracy]).fit(2).plot('both')
    assert [axes for axes, _ in shown] == [1, 2] and 'digit_accuracy: ' in shown[1][1]


def test_the_bar_counts_every_batch(pair, monkeypatch):
    seen = []
    class Bar:
        def __enter__(self): return self
        def __exit__(self, *args): seen.append('closed')
        def update(self): seen.append(1)
    monkeypatch.setattr(module, 'progress_bar', lambda total, doing: seen.append(total) or Bar())
    make_learner(*pair, bs=10).fit(2)
    assert seen == [20] + [1]*20 + ['closed']

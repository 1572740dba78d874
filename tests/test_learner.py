"What the notebook 04_mnist_loss can't show: interruptions and odd metrics"
from functools import partial

import pytest, torch
from torch import nn

from digitlab import learner as module
from digitlab.learner import Batches, DigitLearner, History, digit_accuracy, mnist_loss


def generator(seed=0): return torch.Generator().manual_seed(seed)

@pytest.fixture
def pair():
    "100 points with 5 inputs, and a yes or no for each"
    x = torch.randn(100, 5, generator=generator())
    return x, (x[:, :1] > 0).long()

def make_learner(x, y, valid=None, bs=32, **kwargs):
    torch.manual_seed(0)
    train = Batches(x, y, bs, generator())
    return DigitLearner(nn.Linear(5, 1), train, valid, mnist_loss, lr=1., **kwargs)


def test_order_depends_on_the_generator_alone():
    def order(batches): return torch.cat([xb for xb, _ in batches]).tolist()
    x = torch.arange(50)
    batches = [Batches(x, x, 8, generator(seed)) for seed in (3, 3, 4)]
    once = order(batches[0])
    torch.manual_seed(99)
    assert order(batches[1]) == once != order(batches[2])
    assert order(batches[0]) != once  # a new order in each pass

def test_frozen_parameters_modes_and_gradients(pair):
    seen = []
    class Spy(nn.Linear):
        def forward(self, x):
            seen.append((self.training, torch.is_grad_enabled()))
            return super().forward(x)
    model = nn.Sequential(Spy(5, 3).requires_grad_(False), nn.ReLU(), nn.Linear(3, 1))
    before = model[0].weight.clone()
    DigitLearner(model, Batches(*pair, 50), Batches(*pair, 50), mnist_loss, 1.).fit(2)
    assert torch.equal(model[0].weight, before)
    assert seen == ([(True, True)]*2 + [(False, False)]*2)*2

def always(value, logits, targets): return value
def train_loss(logits, targets): return 0.

@pytest.mark.parametrize('metrics', [[partial(always, 1.), partial(always, 2.)], [train_loss]])
def test_metrics_need_different_names(pair, metrics):
    with pytest.raises(ValueError, match='different names'): make_learner(*pair, metrics=metrics)

def test_validation_counts_items_and_not_batches(pair):
    metrics = [digit_accuracy, partial(always, 0.5)]
    it = make_learner(*pair, valid=Batches(*pair, 99), metrics=metrics)
    row, logits = it.fit(1)[0], it.model(pair[0])
    for name, value in (('valid_loss', mnist_loss(logits, pair[1]).item()), ('always', .5),
                        ('digit_accuracy', digit_accuracy(logits, pair[1]).item())):
        assert row[name] == pytest.approx(value, abs=1e-6)


class Interrupted(Batches):
    "Someone presses Ctrl-C before the last batch"
    def __iter__(self):
        for i, batch in enumerate(super().__iter__()):
            if i == len(self) - 1: raise KeyboardInterrupt
            yield batch

def test_ctrl_c_in_training_keeps_history_and_parameters(pair):
    it = make_learner(*pair, valid=Batches(*pair), metrics=[digit_accuracy])
    it.fit(2)
    before, sound = it.model.weight.clone(), it.train
    it.train = Interrupted(*pair, 32, generator())
    with pytest.raises(KeyboardInterrupt): it.fit(10)
    assert not torch.equal(it.model.weight, before)  # the steps of the third epoch are kept too
    it.train = sound
    assert [row['epoch'] for row in it.fit(1)] == [1, 2, 3]  # and training goes on from there

def test_ctrl_c_in_validation_keeps_the_columns(pair):
    it = make_learner(*pair, valid=Batches(*pair), metrics=[digit_accuracy])
    it.fit(2)
    it.valid = Interrupted(*pair, 32)
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
    def step(learner, xb, yb): return buffer.copy_(module.plain_step(learner, xb, yb))
    it, same = make_learner(*pair, step=step), make_learner(*pair)
    assert it.fit(2)[1]['train_loss'] == pytest.approx(same.fit(2)[1]['train_loss'])
    assert torch.equal(it.model.weight, same.model.weight)

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
    for kwargs in {}, dict(valid=Batches(*pair), metrics=[digit_accuracy]):
        make_learner(*pair, **kwargs).fit(2).plot('title')
    assert [axes for axes, _ in shown] == [1, 2] and 'digit_accuracy: ' in shown[1][1]

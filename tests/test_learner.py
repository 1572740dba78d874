"What the notebook 04_mnist_loss can't show: every bad input, odd last batches, interruptions, and the progress bar"
import io
import os
import re
import sys
import time
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from digitlab.learner import Batches, DigitLearner, History, PlainSGD, digit_accuracy, mnist_loss


def generator(seed=0): return torch.Generator().manual_seed(seed)


@pytest.fixture
def pair():
    "100 points with 5 inputs, and a yes or no for each"
    x = torch.randn(100, 5, generator=generator())
    return x, (x[:, :1] > 0).long()


def learner(x, y, valid=None, bs=32, **kwargs):
    torch.manual_seed(0)
    return DigitLearner(nn.Linear(5, 1), Batches(x, y, bs, generator()), valid, mnist_loss, lr=1., **kwargs)


# batches

def test_batches_keep_every_row_with_its_target():
    x, y = torch.arange(26), torch.arange(26)*10
    xs, ys = map(torch.cat, zip(*Batches(x, y, 6, generator())))
    assert (xs*10 == ys).all() and (xs.sort().values == x).all() and not (xs == x).all()
    assert [len(xb) for xb, _ in Batches(x, y, 6)] == [6, 6, 6, 6, 2] and len(Batches(x, y, 6)) == 5
    assert len(Batches(x, y, 26)) == 1 and len(Batches(x, y, 100)) == 1


def test_order_depends_on_the_generator_alone():
    x = torch.arange(50)
    first = [xb.tolist() for xb, _ in Batches(x, x, 8, generator(3))]
    torch.manual_seed(99); torch.rand(7)
    batches = Batches(x, x, 8, generator(3))
    assert [xb.tolist() for xb, _ in batches] == first
    assert [xb.tolist() for xb, _ in batches] != first                       # a new order in the next pass
    assert [xb.tolist() for xb, _ in Batches(x, x, 8, generator(4))] != first
    assert torch.equal(torch.cat([xb for xb, _ in Batches(x, x, 8)]), x)     # no generator: in order


def test_batch_size_of_the_chapter(): assert Batches(torch.zeros(300, 1), torch.zeros(300)).bs == 256


@pytest.mark.parametrize('bs', [0, -1, 2.5, '8', None])
def test_batch_size_below_one(bs):
    with pytest.raises(ValueError, match=r'bs is .*expected a whole number, 1 or more: try bs=64'):
        Batches(torch.zeros(3, 1), torch.zeros(3), bs)


@pytest.mark.parametrize('n_x,n_y', [(0, 0), (3, 2), (2, 3), (0, 1)])
def test_batches_of_unequal_or_no_rows(n_x, n_y):
    with pytest.raises(ValueError, match=f'{n_x} inputs, {n_y} targets; expected some, as many of both'):
        Batches(torch.zeros(n_x, 1), torch.zeros(n_y))


# losses and metrics

@pytest.mark.parametrize('measure', [mnist_loss, digit_accuracy])
def test_shapes_that_do_not_match(measure):
    with pytest.raises(ValueError, match=r"logits \[4, 1\] and targets \[4\] don't match; use targets.unsqueeze\(1\)"):
        measure(torch.zeros(4, 1), torch.zeros(4).long())


@pytest.mark.parametrize('measure', [mnist_loss, digit_accuracy])
@pytest.mark.parametrize('targets,said', [([3, 7], '3 to 7'), ([0, 2], '0 to 2'), ([-1, 1], '-1 to 1')])
def test_targets_outside_yes_and_no(measure, targets, said):
    with pytest.raises(ValueError, match=said + r'; expected whole numbers, 0 to 1: use \(y == 3\).long\(\)'):
        measure(torch.zeros(2), torch.tensor(targets))


def test_targets_outside_ten_classes():
    with pytest.raises(ValueError, match='1 to 10; expected whole numbers, 0 to 9'):
        digit_accuracy(torch.zeros(2, 10), torch.tensor([1, 10]))
    with pytest.raises(ValueError, match="don't match"): digit_accuracy(torch.zeros(2, 10), torch.tensor([[1], [2]]))


@pytest.mark.parametrize('measure', [mnist_loss, digit_accuracy])
def test_targets_of_a_float_type(measure):
    with pytest.raises(ValueError, match=r'targets are torch.float32, .* expected whole numbers.*use \(y == 3\).long'):
        measure(torch.zeros(2), torch.tensor([0., 1.]))


@pytest.mark.parametrize('measure,shape', [(mnist_loss, (0, 1)), (digit_accuracy, (0, 1))])
def test_loss_and_metric_of_an_empty_batch(measure, shape):
    with pytest.raises(ValueError, match='the batch is empty; expected one image or more: leave it out'):
        measure(torch.zeros(shape), torch.zeros(shape).long())


def test_accuracy_of_ten_classes_and_of_yes_or_no():
    logits = torch.tensor([[0., 5., 1.], [9., 0., 1.], [0., 0., 2.]])
    assert digit_accuracy(logits, torch.tensor([1, 0, 0])).item() == pytest.approx(2/3)
    yes = torch.tensor([[2.], [-2.], [0.]])
    for dtype in (torch.int64, torch.uint8, torch.bool):
        assert digit_accuracy(yes, torch.tensor([[1], [0], [1]]).to(dtype)).item() == pytest.approx(2/3)
        assert mnist_loss(yes, torch.tensor([[1], [0], [1]]).to(dtype)).item() == pytest.approx((2*0.1192 + 0.5)/3, abs=1e-4)


# optimiser

@pytest.mark.parametrize('lr', [-0.1, float('nan'), float('inf'), -float('inf')])
def test_rate_negative_or_not_finite(lr, pair):
    said = r'lr is .*; expected a finite number, 0 or more: start with 0.1'
    with pytest.raises(ValueError, match=said): PlainSGD([torch.zeros(1, requires_grad=True)], lr)
    with pytest.raises(ValueError, match=said):
        DigitLearner(nn.Linear(5, 1), Batches(*pair), None, mnist_loss, lr, opt=torch.optim.SGD)


def test_parameters_without_gradients(pair):
    x, y = pair
    said = r'a parameter \[5, 1\] gets no gradient; expected a finished tensor: scale it, move it, then .requires_grad_\(\)'
    for p in (torch.zeros(5, 1), 0.1*torch.zeros(5, 1, requires_grad=True)):
        with pytest.raises(ValueError, match=said): PlainSGD([p], 0.1)
        with pytest.raises(ValueError, match=said):
            DigitLearner(torch.matmul, Batches(x, y), None, mnist_loss, 0.1, params=[p], opt=torch.optim.SGD)
    frozen = nn.Linear(5, 1).requires_grad_(False)
    for model in (frozen, torch.matmul):
        with pytest.raises(ValueError, match=r'no parameters; expected one or more: give params=\[...\], or unfreeze'):
            DigitLearner(model, Batches(x, y), None, mnist_loss, 0.1)


def test_parameter_that_the_model_does_not_use(pair):
    w, unused = torch.zeros(5, 1, requires_grad=True), torch.zeros(2, 3, requires_grad=True)
    it = DigitLearner(lambda xb, w, unused: xb @ w, Batches(*pair), None, mnist_loss, 0.1, params=[w, unused])
    with pytest.raises(ValueError, match=r'a parameter \[2, 3\] has no gradient; expected one: use it, and call backward'):
        it.fit(1)


def test_frozen_layers_stay_as_they_are(pair):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 1))
    model[0].requires_grad_(False)
    before, after = model[0].weight.clone(), model[1].weight.detach().clone()
    DigitLearner(model, Batches(*pair, 32), None, mnist_loss, 1.).fit(1)
    assert torch.equal(model[0].weight, before) and not torch.equal(model[1].weight, after)


def test_learner_with_plain_sgd_equals_torch(pair):
    mine, theirs = learner(*pair), learner(*pair, opt=torch.optim.SGD)
    mine.fit(2), theirs.fit(2)
    for p, q in zip(mine.params, theirs.params): assert torch.equal(p, q)


# learner

@pytest.mark.parametrize('bs', [99, 33, 100, 1])
def test_validation_weighs_by_count(pair, bs):
    "The last batch has one image, and it is the only one that the model gets wrong"
    x = torch.ones(100, 5)
    y = torch.ones(100, 1).long()
    y[-1] = 0
    it = learner(x, y, valid=Batches(x, y, bs), metrics=[digit_accuracy])
    nn.init.constant_(it.model.weight, 1.); nn.init.zeros_(it.model.bias)
    it.opt.lr = 0.
    row = it.fit(1)[0]
    assert row['digit_accuracy'] == pytest.approx(0.99)
    expected = mnist_loss(it.model(x), y).item()
    assert row['valid_loss'] == pytest.approx(expected, rel=1e-5)
    assert row['train_loss'] == pytest.approx(expected, rel=1e-5)      # 100 = 3*32 + 4: the training mean too


def test_function_and_module_give_the_same(pair):
    module = learner(*pair, valid=Batches(*pair), metrics=[digit_accuracy])
    w, b = module.model.weight.detach().T.clone().requires_grad_(), module.model.bias.detach().clone().requires_grad_()
    function = DigitLearner(lambda xb, w, b: xb @ w + b, Batches(*pair, 32, generator()), Batches(*pair), mnist_loss, lr=1.,
                            metrics=[digit_accuracy], params=[w, b])
    a, b_ = module.fit(3).frame(), function.fit(3).frame()
    assert torch.allclose(module.model.weight.T, w, atol=1e-6) and (a - b_).abs().max().max() < 1e-5


def test_same_seed_same_numbers(pair):
    assert learner(*pair).fit(3) == learner(*pair).fit(3)


@pytest.mark.parametrize('batch', [1, 3])
def test_loss_that_is_not_finite_names_epoch_and_batch(pair, batch):
    x, y = pair
    bad = x.clone()
    bad[(batch - 1)*32] = float('nan')
    torch.manual_seed(0)
    it = DigitLearner(nn.Linear(5, 1), Batches(bad, y, 32), None, mnist_loss, lr=1.)
    with pytest.raises(FloatingPointError, match=f'the loss is nan in epoch 1, batch {batch} of 32 images; expected a finite'):
        it.fit(2)
    assert it.model.weight.isfinite().all() and it.history == []


def test_loss_that_is_not_finite_in_a_later_epoch_and_in_validation(pair):
    x, y = pair
    it = learner(x, y)
    it.fit(2)
    with torch.no_grad(): it.model.bias.fill_(float('inf'))
    it.loss = F.mse_loss
    with pytest.raises(FloatingPointError, match='the loss is .* in epoch 3, batch 1'): it.fit(1)
    assert [row['epoch'] for row in it.history] == [1, 2]
    bad = learner(x, y, valid=Batches(x*float('nan'), y))
    with pytest.raises(FloatingPointError, match='in validation after epoch 1, batch 1'): bad.fit(1)
    assert bad.history[0]['train_loss'] > 0


def test_empty_batch_and_no_batches(pair):
    x, y = pair
    it = DigitLearner(nn.Linear(5, 1), [(x, y), (x[:0], y[:0])], None, mnist_loss, 1.)
    with pytest.raises(ValueError, match='the batch is empty; expected one image or more: leave it out'): it.fit(1)
    it = DigitLearner(nn.Linear(5, 3), [(x[:0], y[:0, 0])], None, F.cross_entropy, 1.)
    with pytest.raises(FloatingPointError, match='in epoch 1, batch 1 of 0 images'): it.fit(1)
    it = DigitLearner(nn.Linear(5, 1), [], None, mnist_loss, 1.)
    with pytest.raises(ValueError, match='epoch 1 has no batches; expected one or more: give Batches'): it.fit(1)


def test_model_and_data_on_different_devices(pair):
    x, y = pair
    said = r'model, inputs, targets are on cpu, meta, meta in epoch 1, batch 1; expected one device: use device= and x.to\(device\)'
    with pytest.raises(ValueError, match=said): learner(x.to('meta'), y.to('meta')).fit(1)
    with pytest.raises(ValueError, match='model, inputs, targets are on meta, cpu, cpu'):
        DigitLearner(nn.Linear(5, 1, device='meta'), Batches(x, y), None, mnist_loss, 1.).fit(1)
    with pytest.raises(ValueError, match='in validation after epoch 1, batch 1'):
        learner(x, y, valid=Batches(x.to('meta'), y.to('meta'))).fit(1)


def test_device_moves_a_module(pair):
    assert next(learner(*pair, device='cpu').model.parameters()).device.type == 'cpu'
    with pytest.raises(ValueError, match='unknown device'): learner(*pair, device='abacus')


class Interrupted(Batches):
    "Somebody presses Ctrl-C in the middle of the third pass"
    passes = 0
    def __iter__(self):
        self.passes += 1
        for i, batch in enumerate(super().__iter__()):
            if self.passes == 3 and i == 2: raise KeyboardInterrupt
            yield batch


def test_ctrl_c_keeps_history_and_parameters(pair):
    it = learner(*pair, valid=Batches(*pair), metrics=[digit_accuracy])
    same = learner(*pair)
    same.fit(2)
    it.train = Interrupted(*pair, 32, generator())
    with pytest.raises(KeyboardInterrupt): it.fit(10)
    assert [row['epoch'] for row in it.history] == [1, 2] and set(it.history[1]) == {'epoch', 'train_loss', 'valid_loss', 'digit_accuracy'}
    assert not torch.equal(it.model.weight, same.model.weight)      # two steps of the third epoch are kept too
    it.fit(1)
    assert [row['epoch'] for row in it.history] == [1, 2, 3]        # and training goes on from there


def test_schedule_steps_after_each_batch(pair):
    rates = []
    class Recorder(torch.optim.SGD):
        def step(self, *args, **kwargs): rates.append(self.param_groups[0]['lr']); return super().step(*args, **kwargs)
    it = learner(*pair, opt=Recorder)
    it.fit(3, schedule=partial(torch.optim.lr_scheduler.OneCycleLR, max_lr=2.))
    assert len(rates) == 12 and max(rates) == pytest.approx(2., rel=0.05) and rates[0] < 0.1 and rates[-1] < 0.1


def test_context_is_entered_for_each_batch(pair):
    seen = []
    class Spy(nn.Linear):
        def forward(self, x): seen.append((torch.is_autocast_enabled('cpu'), self.training, torch.is_grad_enabled())); return super().forward(x)
    context = partial(torch.autocast, 'cpu', torch.bfloat16)
    DigitLearner(Spy(5, 1), Batches(*pair, 50), Batches(*pair, 50), mnist_loss, 1., context=context).fit(1)
    assert seen == [(True, True, True)]*2 + [(True, False, False)]*2


def test_history_is_a_table_and_plots_itself(pair):
    from IPython.core.interactiveshell import InteractiveShell
    history = learner(*pair, valid=Batches(*pair), metrics=[digit_accuracy]).fit(20)
    assert isinstance(history, History) and list(history.frame()) == ['train_loss', 'valid_loss', 'digit_accuracy']
    assert history.frame().index.tolist() == list(range(1, 21)) and '...' in history._repr_html_()
    assert re.findall(r'<th>(\d+)</th>', history._repr_html_()) == ['1', '2', '3', '4', '17', '18', '19', '20']
    from IPython.utils.capture import capture_output
    InteractiveShell.instance()
    with capture_output() as out: history.plot('It learns')
    alt = str(out.outputs[0].metadata or out.outputs[0].data)
    assert 'image/png' in out.outputs[0].data and 'digit_accuracy goes from' in alt
    assert len(History().frame()) == 0 and 'epoch' in History()._repr_html_() and len(History(history[:1]).frame()) == 1
    InteractiveShell.clear_instance()


def slow_loss(logits, targets):
    time.sleep(0.02)
    return mnist_loss(logits, targets)


def test_silent_where_nobody_watches(pair, capsys, monkeypatch):
    monkeypatch.delitem(sys.modules, 'ipykernel', raising=False)
    it = learner(*pair, bs=2)
    it.loss = slow_loss
    it.fit(1)
    out = capsys.readouterr()
    assert out.out == out.err == ''


@pytest.mark.skipif('TQDM_DISABLE' in os.environ, reason='the bar is turned off')
def test_bar_on_a_terminal(pair, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self): return True
    monkeypatch.setattr(sys, 'stderr', Terminal())
    it = learner(*pair, bs=2)
    it.loss = slow_loss
    it.fit(1)
    assert '/50' in sys.stderr.getvalue()

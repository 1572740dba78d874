"Intervals, training from a seed, and what `evaluate` takes"
import matplotlib.pyplot as plt, numpy as np, pytest, torch
from hypothesis import given, settings, strategies as st
from torch import nn

from digitlab import compare
from digitlab.compare import (conv_sides, draw_comparison, evaluate, results_table, train_model,
                              wilson_interval)
from digitlab.convnet import ShiftedBatches, small_convnet
from digitlab.data import read_digits
from digitlab.tensors import make_generator


@pytest.fixture(scope='module')
def digits(): return read_digits('digits')


@pytest.mark.parametrize('right, n, low, high',
                         [(0, 10, 0, .27753), (10, 10, .72247, 1),
                          (81, 263, .25527, .36621), (9900, 10_000, .98786, .99178)])
def test_wilson(right, n, low, high):
    assert wilson_interval(right, n) == pytest.approx((low, high), abs=2e-5)

@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.integers(1, 100_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
       st.floats(.1, 5))
def test_interval_solves_its_equation(answers, z):
    "Its ends p lie z standard errors of their own, sqrt(p(1-p)/n), from the share that was seen"
    right, n = answers
    low, high = wilson_interval(right, n, z)
    assert 0 <= low <= right/n + 1e-15 and right/n - 1e-15 <= high <= 1
    for p in (low, high):
        assert (right/n - p)**2 == pytest.approx(z*z*p*(1 - p)/n, rel=1e-6, abs=1e-14)

@pytest.mark.parametrize('right, n', [(-1, 10), (11, 10), (0, 0)])
def test_wilson_refuses(right, n):
    with pytest.raises(ValueError): wilson_interval(right, n)


def test_same_seed_same_weights(digits):
    models = [small_convnet(make_generator(1), (4, 8)) for _ in range(2)]
    for model in models:
        train_model(model, digits.train_x[:256], digits.train_y[:256], .01, 1, 1,
                    batches=ShiftedBatches)
    assert all(torch.equal(a, b) for a, b in zip(*[m.state_dict().values() for m in models]))


class Asks(nn.Module):
    "Notes whether gradients are kept and whether it is training"
    def __init__(self):
        super().__init__()
        self.conv, self.seen = nn.Conv2d(1, 10, 3), set()
    def forward(self, x):
        self.seen.add((torch.is_grad_enabled(), self.training))
        return self.conv(x[:, None].float()).amax((2, 3))

@pytest.mark.parametrize('training', [True, False])
def test_measuring_leaves_nothing_behind(digits, training):
    for measure in (lambda m: evaluate(m, digits.test_x, digits.test_y),
                    lambda m: conv_sides(m, digits.test_x[:2])):
        model = Asks().train(training)
        measure(model)
        assert model.seen == {(False, False)} and model.training == training

class Always:
    def __init__(self, digit): self.digit = digit
    def predict(self, x): return np.full(len(x), self.digit)

def test_evaluate(digits):
    score = evaluate(Always(3), digits.test_x, digits.test_y, bs=7)
    assert score.accuracy == pytest.approx((digits.test_y == 3).float().mean().item())
    assert score.low < score.accuracy < score.high
    model = small_convnet(make_generator(0))
    few, many = (evaluate(model, digits.test_x, digits.test_y, bs=bs) for bs in (7, 1000))
    assert many.parameters == 29_178 and torch.equal(few.answers, many.answers)

def test_table_and_drawing(monkeypatch):
    rows = [dict(model=m, seed=s, seconds=1., images_per_second=9., n=100, accuracy=a, parameters=5,
                 device='cpu')
            for m, s, a in (('b', 1, .8), ('b', 2, .9), ('a', 1, .5))]
    table = results_table(rows)
    assert list(table.index) == ['b', 'a'] and table.seeds.to_list() == [2, 1]
    assert table.accuracy['b'] == pytest.approx(.85) and table.spread['b'] == pytest.approx(.1)
    assert (table.low['b'], table.high['b']) == pytest.approx(wilson_interval(85, 100))
    shown = []
    monkeypatch.setattr(compare, 'show_figure', lambda fig, alt: shown.append((fig, alt)))
    draw_comparison(table, 'a title')
    (fig, alt), = shown
    assert alt == 'a title. b 0.8500, a 0.5000'
    assert [text.get_text() for text in fig.axes[0].texts] == ['1', '2']
    plt.close('all')

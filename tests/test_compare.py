"Intervals, training from a seed, and what `evaluate` takes"
import time

import matplotlib.pyplot as plt, numpy as np, pytest, torch
from torch import nn

from digitlab import compare
from digitlab.compare import ShiftedBatches, conv_sides, draw_comparison, evaluate, results_table, small_convnet, train_model, wilson_interval
from digitlab.data import read_digits
from digitlab.tensors import make_generator


@pytest.fixture(scope='module')
def digits(): return read_digits('digits')


# intervals

@pytest.mark.parametrize('right, n, low, high', [
    (0, 10, 0, .27753), (10, 10, .72247, 1), (5, 10, .23659, .76341), (81, 263, .25527, .36621), (9900, 10_000, .98786, .99178)])
def test_wilson(right, n, low, high): assert wilson_interval(right, n) == pytest.approx((low, high), abs=2e-5)

@pytest.mark.parametrize('right, n', [(-1, 10), (11, 10), (0, 0)])
def test_wilson_refuses(right, n):
    with pytest.raises(ValueError, match='expected 0 to n right'): wilson_interval(right, n)


# training

def test_same_seed_same_weights(digits):
    models = [small_convnet(make_generator(1), (4, 8)) for _ in range(2)]
    for model in models: train_model(model, digits.train_x[:256], digits.train_y[:256], .01, 1, 1, batches=ShiftedBatches)
    assert all(torch.equal(a, b) for a, b in zip(*[m.state_dict().values() for m in models]))

def test_wrong_widths():
    for widths in ((), (4,)*5):
        with pytest.raises(ValueError, match='expected 1 to 4'): small_convnet(make_generator(0), widths)

def test_seconds_are_those_of_training(digits):
    start = time.perf_counter()
    seconds = train_model(small_convnet(make_generator(1), (4,)), digits.train_x[:256], digits.train_y[:256], .01, 1, 1)
    assert 0 < seconds < time.perf_counter() - start


# measuring

class Asks(nn.Module):
    "Notes whether gradients are kept and whether it is training; passes the images on"
    def __init__(self):
        super().__init__()
        self.conv, self.seen = nn.Conv2d(1, 10, 3), set()
    def forward(self, x):
        self.seen.add((torch.is_grad_enabled(), self.training))
        return self.conv(x[:, None].float()).amax((2, 3))

def test_measuring_keeps_no_gradients_and_no_mode(digits):
    for training in (True, False):
        for measure in (lambda model: evaluate(model, digits.test_x, digits.test_y), lambda model: conv_sides(model, digits.test_x[:2])):
            model = Asks().train(training)
            measure(model)
            assert model.seen == {(False, False)} and model.training == training
    assert list(conv_sides(model, digits.test_x[:2]).values()) == [(28, 26)]

def test_score_in_words(digits):
    assert repr(evaluate(Always(3), digits.test_x, digits.test_y)) == 'Score(0.1028, 0.0755 to 0.1385, 0 parameters, cpu)'

class Always:
    def __init__(self, digit): self.digit = digit
    def predict(self, x): return np.full(len(x), self.digit)

def test_evaluate(digits):
    score = evaluate(Always(3), digits.test_x, digits.test_y, bs=7)
    assert score.accuracy == pytest.approx((digits.test_y == 3).float().mean().item()) and score.low < score.accuracy < score.high
    model = small_convnet(make_generator(0)).train()
    assert evaluate(model, digits.test_x, digits.test_y).parameters == 29_178 and model.training
    assert torch.equal(evaluate(model, digits.test_x, digits.test_y, bs=7).answers, evaluate(model, digits.test_x, digits.test_y).answers)

def test_evaluate_refuses(digits):
    with pytest.raises(TypeError, match='neither predict nor forward'): evaluate(object(), digits.test_x, digits.test_y)
    with pytest.raises(ValueError, match='expected one class for each'): evaluate(Always(3), digits.test_x, digits.test_y[:9])

def test_table():
    rows = [dict(model=m, seed=s, seconds=1., images_per_second=9., n=100, accuracy=a, low=0., high=1., parameters=5, device='cpu')
            for m, s, a in (('b', 1, .8), ('b', 2, .9), ('a', 1, .5))]
    table = results_table(rows)
    assert list(table.index) == ['b', 'a'] and table.seeds.to_list() == [2, 1]
    assert table.accuracy['b'] == pytest.approx(.85) and table.spread['b'] == pytest.approx(.1)
    assert (table.low['b'], table.high['b']) == pytest.approx(wilson_interval(85, 100))
    assert all(kind.kind in 'if' for kind in table.drop(columns='device').dtypes)
    assert list(table)[:6] == ['accuracy', 'low', 'high', 'seeds', 'spread', 'parameters']

def test_comparison_is_drawn_twice_and_numbered(monkeypatch):
    rows = [dict(model=m, seconds=s, images_per_second=9., n=1000, accuracy=a, parameters=p, device='cpu')
            for m, s, a, p in (('first', 1., .95, 10), ('second', 20., .97, 500))]
    shown = []
    monkeypatch.setattr(compare, 'show_figure', lambda fig, alt: shown.append((fig, alt)))
    draw_comparison(results_table(rows), 'a title')
    draw_comparison(results_table(rows), 'a title', 'in words')
    (fig, alt), (_, given) = shown
    assert alt == 'a title. first 0.9500, second 0.9700' and given == 'in words'
    for ax, column in zip(fig.axes, ([1, 20], [10, 500])):
        points = [line for line in ax.lines if line.get_marker() == 'o']
        assert [(line.get_xdata()[0], line.get_label()) for line in points] == list(zip(column, ['1  first', '2  second']))
        assert [line.get_ydata()[0] for line in points] == pytest.approx([.05, .03]) and [text.get_text() for text in ax.texts] == ['1', '2']
    assert [text.get_text() for text in fig.axes[0].get_yticklabels()] == ['0.9', '0.95', '0.98']
    plt.close('all')

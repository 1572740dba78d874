"Intervals, training from a seed, and what `evaluate` takes"
import numpy as np, pytest, torch

from digitlab.compare import ShiftedBatches, evaluate, results_table, small_convnet, train_model, wilson_interval
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


# measuring

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

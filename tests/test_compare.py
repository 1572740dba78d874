"Intervals, trimming, training from a seed, and the figure"
import pytest, torch
from torch import nn

from digitlab.compare import (draw_comparison, evaluate, make_network, results_table, train_model,
                              trim_padding, wilson_interval)
from digitlab.convnet import ShiftedBatches
from digitlab.data import read_digits
from digitlab.tensors import make_generator

digits = read_digits('digits')


@pytest.mark.parametrize('right, n, low, high', [
    (0, 10, 0, .27753), (10, 10, .72247, 1), (81, 263, .25527, .36621)])
def test_wilson(right, n, low, high):
    assert wilson_interval(right, n) == pytest.approx((low, high), abs=2e-5)

@pytest.mark.parametrize('right, n', [(-1, 10), (11, 10), (0, 0)])
def test_wilson_refuses(right, n):
    with pytest.raises(ValueError, match='of n answers'): wilson_interval(right, n)


def trimmed(shape, **settings):
    "What a convolution and its trimmed copy give, and the shape of the trimmed kernel"
    conv = nn.Conv2d(shape[0], 4, 3, **dict(padding=1) | settings)
    x, model = torch.randn(3, *shape), nn.Sequential(conv).requires_grad_(False)
    return model(x), trim_padding(model, x)(x), model[0].weight

@pytest.mark.parametrize('shape, settings, kernel', [
    ((2, 1, 1), {}, (1, 1)), ((2, 1, 1), dict(bias=False), (1, 1)), ((2, 5, 1), {}, (3, 3)),
    ((2, 2, 2), dict(stride=2), (2, 2)), ((2, 1, 2), dict(stride=2), (1, 2)),
    ((2, 4, 4), dict(stride=3, groups=2), (3, 3))])
def test_trimming_changes_no_output(shape, settings, kernel):
    before, after, weight = trimmed(shape, **settings)
    assert after.shape == before.shape and torch.allclose(before, after, atol=1e-5)
    assert weight.shape[2:] == kernel and not weight.requires_grad   # what was frozen stays frozen

@pytest.mark.parametrize('shape, settings', [
    ((2, 3, 3), dict(stride=3)), ((2, 1, 1), dict(dilation=2, padding=2)),
    ((2, 1, 1), dict(groups=2)), ((2, 1, 1), dict(padding_mode='circular')),
    ((2, 1, 1), dict(padding='same'))])
def test_trimming_refuses(shape, settings):
    with pytest.raises(ValueError, match="can't trim"): trimmed(shape, **settings)


@pytest.mark.parametrize('name', ['linear', 'mlp', 'convnet', 'resnet18'])
def test_same_seed_same_network(name):
    x, y = digits.train_x[:130], digits.train_y[:130]
    models = [make_network(name, make_generator(1)) for _ in range(2)]
    for model in models: train_model(model, x, y, .01, 1, 1, batches=ShiftedBatches)
    weights = [model.state_dict().values() for model in models]
    assert all(torch.equal(a, b) for a, b in zip(*weights))
    few, many = (evaluate(models[0], digits.test_x, digits.test_y, bs=bs) for bs in (50, 1000))
    assert torch.equal(few.preds, many.preds) and few.low < few.accuracy < few.high
    assert models[0].training   # as it was before it was measured

def test_smaller_batches_take_more_steps():
    def steps(bs):
        model, x = make_network('linear', make_generator(0)), digits.train_x[:10]
        seen = []
        model.register_forward_hook(lambda model, inputs, output: seen.append(len(output)))
        train_model(model, x, digits.train_y[:10], .01, 2, 0, bs=bs)
        return seen
    assert (steps(4), steps(10)) == ([4, 4, 2]*2, [10]*2)

def test_table_and_drawing(shown):
    runs = [dict(model=m, seconds=s, images_per_second=9., n=100, accuracy=a, parameters=5)
            for m, s, a in (('b', 1., .8), ('b', 3., .9), ('a', 1., 1.))]
    table = results_table(runs)
    assert table.accuracy.to_dict() == pytest.approx({'b': .85, 'a': 1}) and table.seconds['b'] == 2
    assert (table.low['b'], table.high['b']) == pytest.approx(wilson_interval(85, 100))
    assert (table.runs['b'], table.spread['b']) == (2, pytest.approx(.1))
    draw_comparison(table, 'a title')
    assert [figure.alt for figure in shown] == ['a title. Accuracy: b 0.8500, a 1.0000.']

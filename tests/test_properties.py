"What holds for every input, tried on inputs that hypothesis thinks up; nearly the same ones at each run"
import math
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, assume, example, given, settings, strategies as st
from PIL import Image

from digitlab.baseline import PixelBaseline, class_accuracy, confusion_matrix, mae, mse, rmse
from digitlab.compare import wilson_interval
from digitlab.learner import Batches, PlainSGD, digit_accuracy, mnist_loss
from digitlab.mlp import digit_cross_entropy, sigmoid_mse, softmax_mse
from digitlab.predict import read_image
from digitlab.sgd import descend
from digitlab.tensors import check_same_shape, make_generator, scale_pixels

holds = partial(settings, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
close = partial(torch.testing.assert_close, rtol=1e-9, atol=1e-12)
seeds = st.integers(0, 2**32 - 1)
shapes = st.lists(st.integers(1, 5), max_size=4).map(tuple)


def normal(seed, *shape, scale=1.): return torch.randn(shape, generator=make_generator(seed), dtype=torch.float64)*scale

def whole(seed, high, *shape): return torch.randint(0, high, shape, generator=make_generator(seed))

def value_and_gradient(loss, logits, *targets):
    "Of a loss, for the same start"
    logits = logits.clone().requires_grad_()
    value = loss(logits, *targets)
    return value.detach(), torch.autograd.grad(value, logits)[0]

def agree(ours, theirs, logits, *targets):
    "Values and gradients of two losses are the same"
    for a, b in zip(value_and_gradient(ours, logits, *targets), value_and_gradient(theirs, logits, *targets)): close(a, b)


# losses and their gradients, against torch's

def hot(logits, y): return F.one_hot(y, logits.shape[1]).to(logits.dtype)

TEN = {digit_cross_entropy: F.cross_entropy, sigmoid_mse: lambda x, y: F.mse_loss(x.sigmoid(), hot(x, y)),
       softmax_mse: lambda x, y: F.mse_loss(F.softmax(x, 1), hot(x, y))}

@pytest.mark.parametrize('ours', TEN, ids=lambda f: f.__name__)
@holds(max_examples=60)
@given(seeds, st.integers(1, 40), st.integers(2, 12), st.floats(0, 900))
def test_losses_of_classes(ours, seed, n, c, scale): agree(ours, TEN[ours], normal(seed, n, c, scale=scale), whole(seed, c, n))

@holds(max_examples=60)
@given(seeds, st.integers(1, 30), st.integers(2, 12), st.floats(-1e6, 1e6))
def test_cross_entropy_only_sees_differences(seed, n, c, shift):
    logits, y = normal(seed, n, c), whole(seed, c, n)
    torch.testing.assert_close(digit_cross_entropy(logits, y), digit_cross_entropy(logits + shift, y), rtol=1e-6, atol=1e-8)
    assert digit_cross_entropy(logits, y) >= 0

@holds(max_examples=60)
@given(seeds, st.integers(1, 30), st.integers(2, 12), st.floats(0, 1e4))
def test_losses_stay_in_their_bounds(seed, n, c, scale):
    logits, y = normal(seed, n, c, scale=scale), whole(seed, c, n)
    assert 0 <= sigmoid_mse(logits, y) <= 1 and 0 <= softmax_mse(logits, y) <= 2/c + 1e-12
    assert digit_cross_entropy(logits, y).isfinite() and 0 <= mnist_loss(logits, whole(seed, 2, n, c)) <= 1

@holds(max_examples=80)
@given(seeds, shapes.filter(len), st.floats(0, 50))
def test_mnist_loss(seed, shape, scale):
    agree(mnist_loss, lambda x, y: (x.sigmoid() - y).abs().mean(), normal(seed, *shape, scale=scale), whole(seed, 2, *shape))

@pytest.mark.parametrize('ours, theirs', [(mae, F.l1_loss), (mse, F.mse_loss), (rmse, lambda a, b: F.mse_loss(a, b).sqrt())], ids=['mae', 'mse', 'rmse'])
@holds(max_examples=50)
@given(seeds, shapes, st.floats(1e-3, 1e3))
def test_distances(ours, theirs, seed, shape, scale):
    a, b = normal(seed, *shape, scale=scale), normal(seed + 1, *shape, scale=scale)
    agree(ours, theirs, a, b)
    close(ours(a, b), ours(b, a))
    assert ours(a, a) == 0


# shapes

@holds(max_examples=200)
@given(shapes, shapes)
@example((3, 1), (3,))
@example((3,), (3, 1))
@example((), ())
def test_nothing_is_broadcast(a, b):
    x, y = torch.zeros(a), torch.zeros(b)
    if a == b:
        check_same_shape(x, y)
        assert mae(x, y).shape == mse(x, y).shape == rmse(x, y).shape == ()
        return
    for pair in (check_same_shape, mae, mse, rmse, lambda x, y: mnist_loss(x, y.long())):
        with pytest.raises(ValueError, match="don't match"): pair(x, y)

@holds(max_examples=60)
@given(seeds, st.integers(1, 25), st.integers(2, 6), st.integers(1, 7), st.sampled_from(['mse', 'mae']))
def test_the_nearest_mean_is_the_nearest(seed, n, c, pixels, distance):
    x, y = normal(seed, n, pixels, pixels).float(), torch.cat([torch.arange(c), whole(seed, c, n)])
    train = normal(seed + 1, len(y), pixels, pixels).float()
    model = PixelBaseline(distance).fit(train, y)
    answers = model.predict(x)
    assert answers.shape == (n,) and torch.equal(answers, model.predict(x.flatten(1)))
    for one, answer in zip(x, answers):
        far = torch.stack([(one - train[y == k].mean(0)).abs().mean() if distance == 'mae' else (one - train[y == k].mean(0)).square().mean() for k in range(c)])
        assert far[answer] <= far.min() + 1e-5

@holds(max_examples=80)
@given(seeds, st.integers(1, 200), st.integers(2, 10))
def test_confusion(seed, n, c):
    preds, y = whole(seed, c, n), whole(seed + 1, c, n)
    table = confusion_matrix(preds, y, c)
    assert table.sum() == n and torch.equal(table.sum(1), y.bincount(minlength=c)) and torch.equal(table.sum(0), preds.bincount(minlength=c))
    assert all(table[i, j] == ((y == i) & (preds == j)).sum() for i in range(c) for j in range(c))
    share = class_accuracy(preds, y, c)
    close((share.nan_to_num()*table.sum(1)).sum()/n, digit_accuracy(F.one_hot(preds, c).float(), y), rtol=1e-5, atol=1e-6)

@holds(max_examples=30)
@given(seeds, shapes)
def test_scaled_pixels_come_back(seed, shape):
    pixels = whole(seed, 256, *shape).byte()
    assert torch.equal((scale_pixels(pixels)*255).round().byte(), pixels)


# batches

@holds(max_examples=150)
@given(st.integers(1, 300), st.integers(1, 320), st.one_of(st.none(), seeds))
def test_batches_cover_the_data_exactly(n, bs, seed):
    x, y = torch.arange(n*2).reshape(n, 2), torch.arange(n)*7
    batches = Batches(x, y, bs, None if seed is None else make_generator(seed))
    for _ in range(2):
        xs, ys = zip(*batches)
        assert [len(xb) for xb in xs] == [len(yb) for yb in ys] == [bs]*(n//bs) + [n % bs]*(n % bs > 0) and len(xs) == len(batches)
        rows = torch.cat(xs)[:, 0]//2
        assert torch.equal(rows.sort()[0], torch.arange(n)) and torch.equal(torch.cat(xs), x[rows]) and torch.equal(torch.cat(ys), y[rows])
        if seed is None: assert torch.equal(rows, torch.arange(n))

@holds(max_examples=40)
@given(st.integers(2, 200), st.integers(1, 200), seeds)
def test_batches_repeat_with_the_generator(n, bs, seed):
    def passes():
        batches = Batches(torch.arange(n), torch.arange(n), bs, make_generator(seed))
        return [torch.cat([xb for xb, _ in batches]) for _ in range(3)]
    assert all(map(torch.equal, passes(), passes()))


# intervals

answers = st.integers(1, 100_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
widths = st.floats(.1, 5)

@holds(max_examples=300)
@given(answers, widths)
def test_interval_solves_its_equation(answer, z):
    "Its ends are the two shares p that lie z standard errors of their own, sqrt(p(1-p)/n), from what was seen"
    right, n = answer
    low, high = wilson_interval(right, n, z)
    assert 0 <= low <= right/n + 1e-15 and right/n - 1e-15 <= high <= 1
    for p in (low, high): assert (right/n - p)**2 == pytest.approx(z*z*p*(1 - p)/n, rel=1e-6, abs=1e-14)

@holds(max_examples=200)
@given(answers, widths)
def test_interval_grows_and_shrinks_as_it_should(answer, z):
    right, n = answer
    low, high = wilson_interval(right, n, z)
    if right < n:
        more = wilson_interval(right + 1, n, z)
        assert low < more[0] and high < more[1] + 1e-15
    assert (1 - high, 1 - low) == pytest.approx(wilson_interval(n - right, n, z), abs=1e-12)  # the same for the wrong answers
    wider, surer = wilson_interval(right, n, z*1.5), wilson_interval(right*4, n*4, z)
    assert wider[0] <= low + 1e-15 and high <= wider[1] + 1e-15
    assert surer[1] - surer[0] < high - low


# optimisers

@holds(max_examples=60)
@given(seeds, st.lists(shapes, min_size=1, max_size=4), st.floats(0, 2), st.integers(1, 6))
def test_plain_sgd_is_torchs(seed, forms, lr, steps):
    ours = [normal(seed + i, *form).requires_grad_() for i, form in enumerate(forms)]
    theirs = [p.detach().clone().requires_grad_() for p in ours]
    pair = (PlainSGD(ours, lr), ours), (torch.optim.SGD(theirs, lr), theirs)
    for step in range(steps):
        for opt, params in pair:
            opt.zero_grad()
            sum((p*normal(seed + step, *p.shape)).sum() + p.square().sum() for p in params).backward()
            opt.step()
        for a, b in zip(ours, theirs): close(a, b)

@holds(max_examples=60)
@given(seeds, shapes, st.floats(1e-3, .4), st.integers(0, 8))
def test_descend_is_torchs(seed, shape, lr, steps):
    def loss(p): return (p - goal).square().sum() + p.sin().sum()
    goal, p = normal(seed, *shape), normal(seed + 1, *shape)
    way = descend(loss, p, lr, steps)
    theirs = p.clone().requires_grad_()
    opt = torch.optim.SGD([theirs], lr)
    for params, value in zip(way.params, way.losses):
        close(params, theirs.detach())
        close(value, loss(theirs).detach())
        opt.zero_grad(); loss(theirs).backward(); opt.step()
    assert len(way.params) == len(way.losses) == steps + 1


# pictures

@pytest.fixture(scope='module')
def folder(tmp_path_factory): return tmp_path_factory.mktemp('properties')

def bar(picture):
    "A bar of full ink, 0 to 1, with paper all around, as a stroke of a pen is: far thinner than the picture"
    width, height, left, top, thickness, length, lies = picture
    ink = np.zeros((height, width))
    ink[top:top + thickness, left:left + length] = 1
    return ink if lies else ink.T

@st.composite
def pictures(draw, least=1, most=400):
    "Numbers for `bar`; `least` is how thick it is at least, `most` how large the picture is at most"
    width, height = draw(st.integers(12, most)), draw(st.integers(12, most))
    thickness = draw(st.integers(least, max(least, height//4)))
    length = draw(st.integers(min(max(8, thickness), width - 2), width - 2))
    left, top = draw(st.integers(1, width - 1 - length)), draw(st.integers(1, height - 1 - thickness))
    return width, height, left, top, thickness, length, draw(st.booleans())

MODES = ('1', 'L', 'P', 'RGB', 'RGBA', 'LA', 'CMYK', 'I;16', 'I', 'F')

def as_mode(grey, mode):
    "A picture of 8-bit greys in another mode"
    if mode == 'I;16': return Image.fromarray(grey.astype(np.uint16)*257)
    if mode in ('I', 'F'): return Image.fromarray(grey.astype(np.int32 if mode == 'I' else np.float32)*100)
    return Image.fromarray(grey).convert(mode)

@holds(max_examples=200)
@given(pictures(), st.sampled_from(MODES), st.booleans())
@example((202, 236, 1, 1, 29, 198, False), 'L', False)  # cut out closely: a coarse pixel at the border is mostly ink
@example((12, 181, 1, 1, 22, 10, False), '1', False)
def test_any_size_mode_and_polarity(folder, picture, mode, light):
    ink, path = bar(picture), folder/f'a.{"tiff" if mode in ("CMYK", "I;16", "I", "F") else "png"}'
    as_mode((255*(ink if light else 1 - ink)).astype(np.uint8), mode).save(path)
    image = read_image(path)
    assert image.dtype == torch.uint8 and image.shape == (28, 28) and image.max() > 100
    sides = sorted(picture[4:6])
    if ink.shape == (28, 28) or sides[1]*128 < 8*max(ink.shape): return  # like MNIST's, and stays as it is; or a speck
    there = image > image.max()/2
    boxes = [there.any(axis).nonzero().flatten() for axis in (0, 1)]
    for found, length in zip(sorted(boxes, key=len), sides):
        assert abs(len(found) - max(1, 20*length/sides[1])) <= 4 and abs((found[0] + found[-1])/2 - 13.5) <= 1

@holds(max_examples=60)
@given(pictures(least=3, most=128), st.integers(0, 255), st.integers(0, 255))
def test_polarity_and_contrast_do_not_matter(folder, picture, paper, pen):
    ink = bar(picture)
    assume(abs(paper - pen) > 100 and ink.shape != (28, 28))
    first, second = (Image.fromarray((ink*b + (1 - ink)*a).astype(np.uint8)) for a, b in ((paper, pen), (0, 255)))
    first.save(folder/'a.png'), second.save(folder/'b.png')
    assert (read_image(folder/'a.png').int() - read_image(folder/'b.png').int()).abs().max() <= 2

@holds(max_examples=40)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 255), st.sampled_from(MODES))
def test_a_blank_picture_is_refused(folder, width, height, grey, mode):
    path = folder/f'a.{"tiff" if mode in ("CMYK", "I;16", "I", "F") else "png"}'
    as_mode(np.full((height, width), grey, np.uint8), mode).save(path)
    if mode == '1': assume(grey in (0, 255))  # other greys become a pattern of dots
    with pytest.raises(ValueError, match='shows no digit'): read_image(path)

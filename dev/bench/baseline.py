"The pixel baseline's predictions against scikit-learn's NearestCentroid."
from sklearn.neighbors import NearestCentroid

from digitlab.baseline import PixelBaseline
from digitlab.tensors import scale_pixels

from .timing import compare, sizes


def main(digits, repeats):
    x, test_x = scale_pixels(digits.train_x), scale_pixels(digits.test_x)
    rows, test_rows = x.flatten(1).numpy(), test_x.flatten(1).numpy()
    theirs, ours = NearestCentroid().fit(rows, digits.train_y.numpy()), PixelBaseline('mse').fit(x, digits.train_y)
    assert (ours.predict(test_x).numpy() == theirs.predict(test_rows)).mean() > 0.999
    yield compare(f'predictions for {len(test_x):,} images', {'NearestCentroid': lambda: theirs.predict(test_rows),
        'PixelBaseline, MSE': lambda: ours.predict(test_x),
        'PixelBaseline, MAE': lambda m=PixelBaseline('mae').fit(x, digits.train_y): m.predict(test_x)}, repeats)
    yield compare(f'means of {len(x):,} images', {'NearestCentroid': lambda: NearestCentroid().fit(rows, digits.train_y.numpy()),
        'PixelBaseline': lambda: PixelBaseline('mse').fit(x, digits.train_y)}, repeats)
    many = {n: (x.repeat(max(1, n//len(x)), 1, 1)[:n], digits.train_y.repeat(max(1, n//len(x)))[:n]) for n in sizes(len(x))}
    yield compare('means, by the number of images',
        {f'{n:,}': lambda pair=pair: PixelBaseline('mse').fit(*pair) for n, pair in many.items()}, repeats, base=f'{len(x):,}')

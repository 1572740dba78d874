"What the notebook 01_tensors can't show: how many images stand in a row"
import matplotlib, pytest, torch

from digitlab import tensors
from digitlab.tensors import show_images


@pytest.mark.parametrize('n, ncols, rows, columns', [(3, {}, 1, 3), (10, {}, 1, 10), (11, {}, 2, 10), (11, dict(ncols=4), 3, 4)])
def test_images_stand_in_rows(n, ncols, rows, columns, monkeypatch):
    matplotlib.use('Agg')
    shown = []
    monkeypatch.setattr(tensors, 'show_figure', lambda fig, alt: shown.append(fig))
    show_images(torch.rand(n, 28, 28), **ncols)
    assert shown[0].axes[0].get_gridspec().get_geometry() == (rows, columns)

"What the notebook 02_pixel_baseline can't show: what show_confusion says, and data of other kinds"
import numpy as np, pytest, torch
from sklearn.neighbors import NearestCentroid

from digitlab.baseline import (PixelBaseline, class_accuracy, confusion_matrix, mae, mse,
                               show_confusion)


@pytest.mark.parametrize('counts, said', [
    ([[5, 2], [0, 7]], '12 of 14 right; the most frequent mistake: 0 taken for 1, 2 times.'),
    ([[5, 0], [0, 7]], '12 of 12 right.'), ([[0, 0], [0, 0]], '0 of 0 right.')])
def test_confusion_is_told(shown, counts, said):
    show_confusion(torch.tensor(counts), title='Two')
    assert shown[0].alt == f'Two. {said}'

def test_labels_of_one_byte_and_none_at_all():
    bytes_ = torch.tensor([19, 0], dtype=torch.uint8)
    assert confusion_matrix(bytes_, bytes_, 20)[19, 19] == 1  # 19*20 doesn't fit in a byte
    none = torch.zeros(0, dtype=torch.int64)
    assert confusion_matrix(none, none, 2).tolist() == [[0, 0], [0, 0]]
    assert class_accuracy(none, none, 2).isnan().all()

@pytest.mark.parametrize('distance', [mae, mse])
def test_raw_pixels_beside_floats_are_refused(distance):
    raw = torch.zeros(2, 28, 28, dtype=torch.uint8)
    for pair in ((raw, raw.float()), (raw.float(), raw)):
        with pytest.raises(TypeError, match='scale_pixels'): distance(*pair)

@pytest.mark.parametrize('device', ['cpu'] + ['cuda']*torch.cuda.is_available())
def test_answers_are_those_of_scikit_learn(device):
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(300) % 5*2  # classes 0, 2, 4, 6, 8
    centers = 0.3*torch.randn(8, 8, generator=generator)*y[:, None, None]
    x = torch.randn(300, 8, 8, generator=generator) + centers
    preds = PixelBaseline().fit(x.to(device), y.to(device)).predict(x.to(device))
    rows = x.flatten(1).double().numpy()
    theirs = NearestCentroid().fit(rows, y.numpy()).predict(rows)
    assert (preds.cpu().numpy() == theirs).mean() > 0.99 and np.unique(theirs).size == 5
    assert preds.device.type == device

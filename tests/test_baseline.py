"What the notebook 02_pixel_baseline can't show: what show_confusion draws, and data of other kinds"
import matplotlib, numpy as np, pytest, torch
from sklearn.neighbors import NearestCentroid

from digitlab import baseline
from digitlab.baseline import PixelBaseline, class_accuracy, confusion_matrix, mae, mse, show_confusion

DEVICES = ['cpu'] + ['cuda']*torch.cuda.is_available()


@pytest.fixture
def drawn(monkeypatch):
    "Figures and alt texts that would have been shown"
    matplotlib.use('Agg')
    shown = []
    monkeypatch.setattr(baseline, 'show_figure', lambda fig, alt: shown.append((fig, alt)))
    yield shown
    matplotlib.pyplot.close('all')

def numbers(fig): return {(t.get_text(), *t.get_position()) for t in fig.axes[0].texts}

def test_confusion_is_drawn_with_true_labels_in_rows(drawn):
    show_confusion(torch.tensor([[5, 2], [0, 7]]), title='Two')
    (fig, alt), = drawn
    assert numbers(fig) == {('5', 0, 0), ('2', 1, 0), ('7', 1, 1)}
    assert alt == 'Two. 12 of 14 right; the most frequent mistake: 0 taken for 1, 2 times.'
    assert (fig.axes[0].get_xlabel(), fig.axes[0].get_ylabel()) == ('predicted', 'true')

def test_nothing_is_said_of_mistakes_where_there_are_none(drawn):
    show_confusion(torch.tensor([[5, 0], [0, 7]]))
    show_confusion(torch.zeros(3, 3, dtype=torch.int64))
    assert [alt for _, alt in drawn] == ['Confusion matrix. 12 of 12 right.', 'Confusion matrix. 0 of 0 right.']

def test_labels_of_one_byte_and_none_at_all():
    bytes_ = torch.tensor([19, 0], dtype=torch.uint8)
    assert confusion_matrix(bytes_, bytes_, 20)[19, 19] == 1  # 19*20 doesn't fit in a byte
    none = torch.zeros(0, dtype=torch.int64)
    assert confusion_matrix(none, none, 2).tolist() == [[0, 0], [0, 0]]
    assert class_accuracy(none, none, 2).isnan().all()

@pytest.mark.parametrize('preds, targets', [([-1, 0], [1, 0]), ([0, 1], [2, 1])])
def test_labels_out_of_range_are_refused(preds, targets):
    with pytest.raises(ValueError, match='expected 0 to 1'): confusion_matrix(torch.tensor(preds), torch.tensor(targets), 2)

@pytest.mark.parametrize('distance', [mae, mse])
def test_raw_pixels_beside_floats_are_refused(distance):
    raw = torch.zeros(2, 28, 28, dtype=torch.uint8)
    for pair in ((raw, raw.float()), (raw.float(), raw)):
        with pytest.raises(TypeError, match='scale_pixels'): distance(*pair)

@pytest.mark.parametrize('offset', [0, 1000])
@pytest.mark.parametrize('device', DEVICES)
def test_answers_are_those_of_scikit_learn(device, offset):
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(300) % 5*2  # classes 0, 2, 4, 6, 8
    x = torch.randn(300, 8, 8, generator=generator) + 0.3*y[:, None, None]*torch.randn(8, 8, generator=generator) + offset
    preds = PixelBaseline().fit(x.to(device), y.to(device)).predict(x.to(device))
    theirs = NearestCentroid().fit(x.flatten(1).double().numpy(), y.numpy()).predict(x.flatten(1).double().numpy())
    assert (preds.cpu().numpy() == theirs).mean() > 0.99 and np.unique(theirs).size == 5
    assert preds.device.type == device

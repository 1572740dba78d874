"What the appendix on figures and results doesn't show"
import json
from types import SimpleNamespace

import matplotlib.pyplot as plt, pandas as pd, pytest, torch

from digitlab import show
from digitlab.show import progress_bar, result, show_figure, show_images, use_style, value_text


@pytest.mark.parametrize('n, ncols, rows, columns', [(3, 10, 1, 3), (11, 10, 2, 10), (11, 4, 3, 4)])
def test_images_stand_in_rows(n, ncols, rows, columns, monkeypatch):
    figures = []
    monkeypatch.setattr(show, 'show_figure', lambda fig, alt: figures.append((fig, alt)))
    show_images(torch.rand(n, 28, 28), ncols=ncols)
    (fig, alt), = figures
    assert fig.axes[0].get_gridspec().get_geometry() == (rows, columns) and alt
    plt.close('all')

@pytest.mark.parametrize('images', [torch.rand(28, 28), torch.rand(2, 3, 28, 28), [],
                                    torch.rand(0, 28, 28), [torch.rand(8, 8), torch.rand(8, 8, 3)]])
def test_not_images(images):
    with pytest.raises(ValueError, match='show a single one as'): show_images(images)

def test_a_title_is_missing():
    with pytest.raises(ValueError, match='shorter'): show_images(torch.rand(2, 5, 5), titles=[1])

def test_figures_need_words(shown):
    use_style()
    fig = plt.figure()
    with pytest.raises(ValueError, match='say in a sentence'): show_figure(fig, ' ')
    show_figure(fig, 'an empty figure')
    assert shown[0].data.startswith(b'\x89PNG') and shown[0].alt == 'an empty figure'
    assert not plt.get_fignums()


@pytest.mark.parametrize('value, text', [(0.95114, '0.9511'), (1e-5, '1e-05'), (0., '0.0000'),
                                         (-2.5e-4, '-0.00025'), (60_000, '60,000'),
                                         (123456.7, '1.23e+05'), (True, 'True'), ('cpu', 'cpu'),
                                         ([0.5, 2], '0.5000  2')])
def test_values_as_text(value, text): assert value_text(value) == text

def kept(bundle): return bundle['application/vnd.digitlab.result+json']

def test_results_are_kept(shown):
    result('accuracy', torch.tensor(0.9168), 0.9168, published=0.92, unit='of 1')
    result('table', pd.DataFrame({'a': [1, 2]}, index=['x', 'y']))
    assert shown[0]['text/plain'] == 'accuracy: 0.9168 of 1  (published 0.9200)'
    assert kept(shown[0])['expected'] == 0.9168
    assert kept(shown[1])['value']['data'] == [['x', 1], ['y', 2]]

@pytest.mark.parametrize('value, expected, tol, ok', [
    (.9168, .9168, 0, True), (.91684, .9168, 0, True), (.9169, .9168, 0, False),
    (1.234e-4, 1.234e-4, 0, True), (2e-5, 1e-5, 0, False),
    (.93, .92, .01, True), (.94, .92, .01, False),
    (float('nan'), .9, 1, False)])
def test_results_are_checked(shown, value, expected, tol, ok):
    if ok: return result('x', value, expected, tol)
    with pytest.raises(AssertionError, match='x: got .*, expected '):
        result('x', value, expected, tol)
    result('x', value, expected, tol, check=False)
    assert len(shown) == 2  # shown and kept, also where it is wrong
    json.dumps(shown, allow_nan=False)  # a kernel can send no nan


def test_the_bar_in_a_notebook(monkeypatch):
    "It shows something after a second, and leaves nothing"
    found = []
    def display(data, **_):
        found.append(data)
        return SimpleNamespace(update=display)
    monkeypatch.setattr('IPython.display.display', display)
    monkeypatch.setattr(show, 'in_frontend', lambda: True)
    with progress_bar(100, 'reading') as bar:
        bar.start_t, bar.last_print_t = bar.start_t - 2, bar.last_print_t - 2
        bar.update(50)
    assert found[0]['text/plain'].startswith('reading:  50%') and found[-1] == {}

@pytest.mark.parametrize('rank', '01')
def test_only_the_first_of_several_processes_shows_a_bar(monkeypatch, rank):
    monkeypatch.setenv('RANK', rank)
    monkeypatch.setattr('sys.stderr.isatty', lambda: True)
    with progress_bar(100, 'training') as bar: assert bar.disable == (rank == '1')

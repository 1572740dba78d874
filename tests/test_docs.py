"What the site's sources hold; needs no Sphinx. The built site has its tests in docs/."
import importlib, json, re, sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT/'docs'))
import build

NAMES = [(m, n) for m in build.LESSONS for n in build.exports(m)]


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp('site')/'source'
    build.write_sources(folder)
    return folder

def test_every_module_has_a_lesson():
    assert list(build.LESSONS) == [m for m in build.LESSONS if (ROOT/'digitlab'/f'{m}.py').exists()]
    assert set(build.LESSONS) == {p.stem for p in (ROOT/'digitlab').glob('[a-z]*.py')}

@pytest.mark.parametrize('module, name', NAMES, ids=lambda v: v)
def test_what_is_exported_is_explained(module, name):
    obj = getattr(importlib.import_module(f'digitlab.{module}'), name)
    entry = build.entry(module, name, obj)
    if not callable(obj): return
    for parameter, *_, comment in build.rows(obj):
        if parameter == 'returns': continue
        assert comment, f'{parameter} has no comment'
        assert f'| `{parameter}` |' in entry
    assert obj.__doc__ and re.search(r'blob/main/digitlab/\w+\.py#L\d+-L\d+\)', entry)

def test_directives_and_hidden_cells_are_gone(source):
    for path in source.glob('*.ipynb'):
        cells = json.loads(path.read_text(encoding='utf-8'))['cells']
        assert not any(re.search(r'^#\|', ''.join(c['source']), re.M) for c in cells if c['cell_type'] == 'code'), path.name
        assert not any('remove-cell' in c['metadata'].get('tags', []) for c in cells)

def test_docstrings_name_a_page(source):
    for module in build.LESSONS:
        url = importlib.import_module(f'digitlab.{module}').__doc__.split('Docs: ')[1].strip()
        assert (source/'extra'/url.rpartition('/')[2]).stat().st_size > 1000

@pytest.mark.parametrize('given, expected', [
    ('[a](01_tensors.ipynb#shape)', '[a](/tensors.ipynb#shape)'), ('[a](../CONTRIBUTING.md)', '[a](/contributing.md)'),
    ('[a](../LICENSE)', f'[a]({build.REPO}/blob/main/LICENSE)'), ('[a](../tests)', f'[a]({build.REPO}/tree/main/tests)'),
    ('<a href="01_tensors.ipynb">a</a>', '<a href="tensors.html">a</a>'), ('[a](https://x.org/a)', '[a](https://x.org/a)'),
    ('[![Open](https://x.org/b.svg)](https://x.org)', '[Open](https://x.org)'), ('`[a](none.md)`', '`[a](none.md)`')])
def test_links(given, expected, tmp_path): assert build.relinked(given, ROOT/'nbs', tmp_path) == expected

def test_a_dead_link_stops_the_build(tmp_path):
    with pytest.raises(FileNotFoundError, match='none.ipynb leads nowhere'): build.relinked('[a](none.ipynb)', ROOT/'nbs', tmp_path)

def test_comments_are_escaped():
    assert build.prose('laid out as <digit>/*.png, `a|b`') == r'laid out as \<digit\>/\*.png, `a\|b`'
    assert build.with_api_links('`descend`, `x` and [`descend`](a)') == '{py:obj}`descend <digitlab.sgd.descend>`, `x` and [`descend`](a)'

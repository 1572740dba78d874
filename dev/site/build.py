"Builds the site into docs/_site from the notebooks, the library and the project's pages. Needs no network."
import argparse, ast, inspect, re, shutil, sys, tempfile
from importlib import import_module
from pathlib import Path

import nbformat
from fastcore.docments import docments

DOCS = Path(__file__).parent
ROOT = DOCS.parent
INDEX = ROOT/'nbs'/'index.ipynb'
REPO = re.search(r'Repository = "(.+)"', (ROOT/'pyproject.toml').read_text(encoding='utf-8'))[1]
CHAPTERS = {p: p.stem[3:] for p in sorted((ROOT/'nbs').glob('[0-9][0-9]_*.ipynb'))}  # pages named as in the docstrings of the modules
LESSONS = {m[1]: page for p, page in CHAPTERS.items() if (m := re.search(r'#\| *default_exp (\w+)', p.read_text(encoding='utf-8')))}
PROJECT = [p for p in (*(DOCS/f'{n}.md' for n in ('questions', 'benchmarks', 'security')), ROOT/'CONTRIBUTING.md', ROOT/'CHANGELOG.md') if p.exists()]
PAGES = CHAPTERS | {p: p.stem.lower() for p in PROJECT} | {INDEX: 'index', ROOT/'README.md': 'index'}


def exports(module): return import_module(f'digitlab.{module}').__all__

def relinked(text, base, source): # links counted from the folder `base` become links of the site or of the repository
    def target(link, html=False):
        if re.match(r'\w+:|#', link): return link
        path, hash, anchor = link.partition('#')
        file = (base/path).resolve()
        if not file.exists(): raise FileNotFoundError(f'a link to {link} leads nowhere: {file}')
        if file in PAGES: return (f'{PAGES[file]}.html' if html else f'/{PAGES[file]}{file.suffix}') + hash + anchor
        if file.suffix in ('.png', '.svg', '.jpg', '.gif'): return shutil.copy(file, source/file.name).name
        return f'{REPO}/{"tree" if file.is_dir() else "blob"}/main/{file.relative_to(ROOT).as_posix()}{hash}{anchor}'
    def change(part):
        part = re.sub(r'!\[([^]]*)\]\(https?:[^)]*\)', r'\1', part)  # a badge would be fetched from elsewhere: its text will do
        part = re.sub(r'\]\(([^)\s]+)\)', lambda m: f']({target(m[1])})', part)
        return re.sub(r'(href|src)="([^"]+)"', lambda m: f'{m[1]}="{target(m[2], True)}"', part)
    parts = re.split(r'(```.*?```|`[^`\n]*`)', text, flags=re.S)  # not in code
    return ''.join(part if i % 2 else change(part) for i, part in enumerate(parts))

def with_api_links(text): # names of the library in backticks lead to their entries
    homes = {name: module for module in LESSONS for name in exports(module)}
    def role(m): return f'{{py:obj}}`{m[1]}{m[2]} <digitlab.{homes[m[1]]}.{m[1]}>`' if m[1] in homes else m[0]
    parts = re.split(r'(```.*?```|^#.*$|\[[^]]*\]\()', text, flags=re.S | re.M)  # not in fences, headings and links
    return ''.join(p if i % 2 else re.sub(r'(?<![`}])`(\w+)((?:\(\))?)`(?!`)', role, p) for i, p in enumerate(parts))


def chapter(path, source): # a notebook as a page, and as Markdown beside it
    nb, name, cells, text = nbformat.read(path, 4), PAGES[path], [], []
    module = next((m for m, page in LESSONS.items() if page == name), None)
    for cell in nb.cells:
        tags = cell.metadata.get('tags', [])
        if 'remove-cell' in tags or re.match(r'#\| *(hide|default_exp)\b', cell.source): continue
        if cell.cell_type == 'markdown':
            cell.source = relinked(cell.source, path.parent, source)
            text.append(re.sub(r'\]\(/(\w+)\.(ipynb|md)', r'](\1.html', cell.source))
            cell.source = with_api_links(cell.source)
        else:
            exported = re.match(r'#\| *export', cell.source)
            cell.source = re.sub(r'^#\|.*\n?', '', cell.source, flags=re.M).strip()
            for data in [o.get('data', {}) for o in cell.outputs]:  # widgets and recorded results are for programs: a picture or text beside them is shown
                if 'application/vnd.jupyter.widget-view+json' in data: data.pop('text/plain', None)
                for kind in [k for k in data if k.startswith('application/')]: del data[kind]
                if 'srcdoc' in data.get('text/html', ''):  # a report shown whole: what it links to isn't here
                    data['text/html'] = re.sub(r'\bhref=(&quot;|&#x27;|&#39;).*?\1', '', data['text/html'])
            cell.outputs = [o for o in cell.outputs if o.get('data', True)]
            plain = ''.join(o.get('text', o.get('data', {}).get('text/plain', '')) for o in cell.outputs).strip()
            text += [f'```{kind}\n{t}\n```' for kind, t in (('python', cell.source), ('', plain)) if t]
            made = [n for n in re.findall(r'^(?:def |class )?(\w+)(?=[(:]| = )', cell.source, re.M) if exported and n in exports(module)]
            if made: cells.append(nbformat.v4.new_markdown_cell(''.join(f'<span id="def-{n}"></span>' for n in made)))
            if 'answer' in tags: cell.metadata.mystnb = {'code_prompt_show': 'Show the answer', 'code_prompt_hide': 'Hide the answer'}
            cell.metadata.tags = [*tags, *['hide-cell']*('answer' in tags), *['export']*bool(exported)]
        cells.append(cell)
    if path == INDEX: cells.append(nbformat.v4.new_markdown_cell(contents()))
    else:
        colab = re.search(rf'https://colab[^)\s]+{path.name}', INDEX.read_text(encoding='utf-8'))
        links = [f'[Notebook]({REPO}/blob/main/nbs/{path.name})', *[f'[Open in Colab]({colab and colab[0]})']*bool(colab),
                 *[f'[Library: digitlab.{module}](/api/{module}.md)']*bool(module)]
        cells.insert(1, nbformat.v4.new_markdown_cell('{.links}\n' + ' · '.join(links)))
    nb.cells, nb.metadata = cells, {'kernelspec': nb.metadata.get('kernelspec', {}), 'language_info': {'name': 'python'}}
    nbformat.write(nb, source/f'{name}.ipynb')
    (source/'extra'/f'{name}.html.md').write_text('\n\n'.join(text) + '\n', encoding='utf-8')

def contents():
    def tree(caption, lines): return '```{toctree}\n:hidden:\n:caption: ' + caption + '\n\n' + '\n'.join(lines) + '\n```'
    def title(path): return nbformat.read(path, 4).cells[0].source.splitlines()[0].lstrip('# ')
    return '\n\n'.join([tree('Lessons', [f'{int(p.stem[:2])}. {title(p)} <{page}>' for p, page in CHAPTERS.items()]),
                        tree('Library', [f'api/{module}' for module in LESSONS]), tree('Project', [PAGES[p] for p in PROJECT])])


def type_text(kind): # without the modules: str | Path
    if kind is inspect.Parameter.empty: return ''
    name = kind.__name__ if isinstance(kind, type) and not getattr(kind, '__args__', None) else str(kind)
    return re.sub(r'(?:\w+\.)+(?=\w)', '', name)

def prose(comment): # a comment as Markdown, fit for a cell of a table
    parts = re.split(r'(`[^`]*`)', comment or '')
    return with_api_links(''.join(p.replace('|', '\\|') if i % 2 else re.sub(r'([\\*_\[\]<>|$#{}~])', r'\\\1', p) for i, p in enumerate(parts)))

def rows(obj): # name, type, default and comment of each parameter, and of what comes back
    if inspect.isclass(obj) and ('__init__' not in vars(obj) or hasattr(obj, '__dataclass_fields__')):  # its fields
        lines = inspect.getsource(obj).splitlines()
        return [(s.target.id, type_text(ast.unparse(s.annotation)), ast.unparse(s.value) if s.value else '', lines[s.end_lineno - 1].partition(' # ')[2])
                for s in ast.parse('\n'.join(lines)).body[0].body if isinstance(s, ast.AnnAssign)]
    signature, found = inspect.signature(obj), docments(obj, full=True, returns=True)
    table = [(name, type_text(p.annotation), '' if p.default is p.empty else getattr(p.default, '__name__', None) or repr(p.default),
              found[name]['docment']) for name, p in signature.parameters.items() if name != 'self']
    back = '' if inspect.isclass(obj) else type_text(signature.return_annotation)
    return table + [('returns', back, '', found.get('return', {}).get('docment'))]*(back not in ('', 'None'))

def entry(module, name, obj): # a function, class, method or constant
    if not callable(obj):
        line = re.search(rf'^{name}\b.*? = .*', inspect.getsource(sys.modules[f'digitlab.{module}']), re.M)[0]
        return f'```{{py:data}} {name}\n{prose(line.partition("  # ")[2])}\n```\n'
    kind, table = 'class' if inspect.isclass(obj) else 'method' if '.' in name else 'function', rows(obj)
    given = ', '.join(n + (f': {t}' if t else '') + (f' = {d}' if d else '') for n, t, d, _ in table if n != 'returns')
    back = ''.join(f' -> {t}' for n, t, *_ in table if n == 'returns')
    text, first = inspect.getsourcelines(obj)
    links = [f'[Source]({REPO}/blob/main/digitlab/{module}.py#L{first}-L{first + len(text) - 1})']
    if kind != 'method': links.append(f'<a href="../{LESSONS[module]}.html#def-{name}">Where it is built</a>')
    def code(t): return f'`{t}`'.replace('|', '\\|') if t else ''
    shown = [('parameter', 'type', 'default', 'meaning')] + [('*returns*' if n == 'returns' else code(n), code(t), code(d), prose(c)) for n, t, d, c in table]
    columns = [c for c in zip(*shown) if any(c[1:])]  # those that hold something
    lines = [f'| {" | ".join(row)} |' for row in zip(*columns)]
    lines[1:1] = ['|' + '---|'*len(columns)]*bool(lines)
    body = [prose(inspect.cleandoc(vars(obj).get('__doc__') or '' if kind == 'class' else obj.__doc__ or '')), '\n'.join(lines), '{.links}\n' + ' · '.join(links)]
    return f'````{{py:{kind}}} {name}({given}){back}\n\n' + '\n\n'.join(filter(None, body)) + '\n````\n'

def reference(module):
    mod = import_module(f'digitlab.{module}')
    page = [f'# digitlab.{module}', prose(mod.__doc__.split('\n\nDocs:')[0].rstrip('.')) + '.', f'```{{py:module}} digitlab.{module}\n```']
    for name in exports(module):
        page.append(entry(module, name, getattr(mod, name)))
        methods = vars(getattr(mod, name)).items() if inspect.isclass(getattr(mod, name)) else ()
        page += [entry(module, f'{name}.{key}', m) for key, m in methods if inspect.isfunction(m) and key[0] != '_' and m.__module__ == mod.__name__]
    return '\n\n'.join(page)


def write_sources(source): # what Sphinx reads
    for folder in ('extra', 'api'): (source/folder).mkdir(parents=True)
    for path in (*CHAPTERS, INDEX): chapter(path, source)
    for path in PROJECT: (source/f'{PAGES[path]}.md').write_text(relinked(path.read_text(encoding='utf-8'), path.parent, source), encoding='utf-8')
    for module in LESSONS: (source/'api'/f'{module}.md').write_text(reference(module), encoding='utf-8')

def main():
    from sphinx.cmd.build import main as sphinx
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, default=DOCS/'_site', help='the folder of the site, made anew')
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory(prefix='digitlab-docs-') as work:
        source, site = Path(work, 'source'), Path(work, 'site')
        write_sources(source)
        failed = sphinx(['-q', '-n', '-W', '--keep-going', '-b', 'html', '-c', str(DOCS), '-d', f'{work}/doctrees',
                         '-D', f'html_extra_path={source/"extra"}', str(source), str(site)])
        if failed: return failed
        for template in site.glob('_static/*macros.html'): template.unlink()  # of the theme: no pages
        if out.exists(): shutil.rmtree(out)
        shutil.move(site, out)
    print(f'{len(list(out.rglob("*.html")))} pages: {out/"index.html"}')

if __name__ == '__main__': sys.exit(main())

"Sphinx's settings. build.py writes the sources."
import re
from binascii import a2b_base64
from pathlib import Path

from docutils import nodes
from latex2mathml.converter import convert
from myst_nb.core.render import NbElementRenderer

root = Path(__file__).parents[1]
repository = re.search(r'Repository = "(.+)"', (root/'pyproject.toml').read_text(encoding='utf-8'))[1]

project, author = 'digitlab', 'the digitlab authors'
copyright = f'{author}, Apache License 2.0'
language = 'en-GB'
extensions = ['myst_nb']
exclude_patterns = ['extra']
nb_execution_mode = 'off'  # the committed outputs are shown
nb_ipywidgets_js = {}      # would come from another host
nb_merge_streams = True
nb_render_markdown_format = 'myst'
nb_code_prompt_show, nb_code_prompt_hide = 'Show the code', 'Hide the code'
myst_enable_extensions = ['dollarmath', 'attrs_block']
myst_heading_anchors = 4
suppress_warnings = ['config.cache']
nitpick_ignore_regex = [('py:class', r'.*')]  # types of other libraries in signatures
smartquotes = False          # quotes in comments are code
add_module_names = False
maximum_signature_line_length = 60
toc_object_entries_show_parents = 'hide'

html_theme = 'sphinx_book_theme'
html_title = 'digitlab'
html_favicon = 'static/icon.svg'
html_static_path = ['static']
html_css_files = ['site.css']
html_copy_source = html_show_sourcelink = False
html_math_renderer = 'mathml'
html_context = {'default_mode': 'auto'}
html_theme_options = dict(repository_url=repository, use_repository_button=True, use_download_button=False, use_fullscreen_button=False,
                          home_page_in_toc=True, navbar_persistent=[], show_toc_level=2, logo={'text': 'digitlab'})


def _math(display): # MathML: needs no script and no font from elsewhere
    def visit(self, node):
        self.body.append(convert(node.astext(), display=display))
        raise nodes.SkipNode
    return visit, None

def _with_alt(render): # myst-nb passes the alternative text of a figure over
    def render_image(self, data):
        images = render(self, data)
        for image in images:
            image['alt'] = data.output_metadata.get(data.mime_type, {}).get('alt', '')
            if data.mime_type == 'image/png' and int.from_bytes(a2b_base64(data.content)[16:20]) > 660: image['classes'].append('wide')
        return images
    return render_image

def setup(app):
    NbElementRenderer.render_image = _with_alt(NbElementRenderer.render_image)
    app.add_html_math_renderer('mathml', _math('inline'), _math('block'))

"Sphinx's settings. build.py writes the pages' sources."
from docutils import nodes
from latex2mathml.converter import convert
from myst_nb.core.render import NbElementRenderer

project = html_title = 'digitlab'
author = 'the digitlab authors'
copyright = f'{author}, Apache License 2.0'
extensions = ['myst_nb', 'sphinx_copybutton']
nb_execution_mode = 'off'  # the saved outputs are shown
nb_ipywidgets_js = {}      # would come from another host
nb_merge_streams = True
nb_render_markdown_format = 'myst'
nb_code_prompt_show, nb_code_prompt_hide = 'Show the code', 'Hide the code'
myst_enable_extensions = ['dollarmath', 'attrs_block']
myst_heading_anchors = 4
suppress_warnings = ['config.cache', 'mystnb.unknown_mime_type']
copybutton_selector = 'div.cell_input div.highlight pre, div.highlight-sh pre'

html_theme = 'sphinx_book_theme'
html_favicon = 'static/icon.svg'
html_css_files = ['site.css']
html_js_files = [('site.js', {'type': 'module'}), # and the theme's icons needn't watch every change
                 (None, {'body': 'FontAwesomeConfig = {observeMutations: false}'})]
html_copy_source = html_show_sourcelink = html_use_index = False
html_math_renderer = 'mathml'
html_context = {'default_mode': 'auto'}
html_theme_options = dict(
    use_download_button=False, use_fullscreen_button=False, home_page_in_toc=True,
    navbar_persistent=[], show_toc_level=2, logo={'text': 'digitlab'})


def math(display): # MathML: needs no script and no font from elsewhere
    def visit(self, node):
        self.body.append(convert(node.astext(), display=display))
        raise nodes.SkipNode
    return visit, None

def with_alt(render): # myst-nb passes the alternative text of a figure over
    def render_image(self, data):
        images, about = render(self, data), data.output_metadata.get(data.mime_type, {})
        for image in images: image['alt'] = about.get('alt', '')
        return images
    return render_image

def setup(app):
    NbElementRenderer.render_image = with_alt(NbElementRenderer.render_image)
    app.add_html_math_renderer('mathml', math('inline'), math('block'))

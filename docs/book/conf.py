"""Settings of the book for Sphinx; docs/book/build.py writes the pages that it reads."""

from kikuhelpers import __version__

project = "kikuhelpers"
author = "The kikuhelpers developers"
release = __version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "index"
exclude_patterns = ["_files"]  # what pages link to and show

# Pages are read as they are: nothing runs, and nothing is fetched.
nb_execution_mode = "off"
nb_ipywidgets_js = {}
nb_merge_streams = True
nb_mime_priority_overrides = [("html", "application/vnd.jupyter.widget-view+json", None)]
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
# README and the pages of tables begin at any level of heading, and notebooks name Python as
# "ipython3", a lexer of IPython's own.
suppress_warnings = ["myst.header", "misc.highlighting_failure", "mystnb.unknown_mime_type"]

napoleon_google_docstring = False
napoleon_use_ivar = True  # an attribute that is a property too is described once
autodoc_typehints = "none"  # the docstrings name shapes and units, which say more
autodoc_member_order = "bysource"
# Matplotlib writes the docstring of "set", in roles of its own.
autodoc_default_options = {"members": True, "show-inheritance": True, "exclude-members": "set"}

html_theme = "furo"
html_title = "kikuhelpers"
html_show_sphinx = html_show_copyright = False
html_copy_source = False
html_static_path = ["book.css"]
html_css_files = ["book.css"]
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b6e75", "color-brand-content": "#0b6e75"},
    "dark_css_variables": {"color-brand-primary": "#5cc4c9", "color-brand-content": "#5cc4c9"},
}

"""The site of the book: `make book`. The source folder is the repository, see website.py for what is ours.

Chapters stay plain Markdown as code hosts show it; only chapters and notebooks are executed.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("OMP_NUM_THREADS", "1")  # each kernel is one process of several

project = "descend"
author = "the authors of descend"
copyright = "the authors of descend, MIT licence"

extensions = ["sphinx.ext.autodoc", "sphinx.ext.mathjax", "myst_nb", "book.website"]
root_doc = "README"
include_patterns = [
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "docs/*.md",
    "docs/reference/*.rst",
    "docs/reference/*.md",
    "notebooks/*.ipynb",
]
smartquotes_action = "q"  # quotation marks; "--" stays what was typed
suppress_warnings = ["myst.header"]  # a section of a notebook may begin below the level above it

# --- Markdown as code hosts read it -----------------------------------------------------------------------------------

myst_enable_extensions = ["alert", "amsmath", "dollarmath", "gfm_autolink", "strikethrough", "tasklist"]
myst_disable_syntax = ["myst_line_comment", "myst_block_break", "myst_target", "myst_role", "front_matter"]
myst_heading_anchors = 6
myst_dmath_double_inline = True
myst_dmath_allow_digits = False  # "$5 or $6" is money

# --- what is executed -------------------------------------------------------------------------------------------------

nb_execution_mode = os.environ.get("BOOK_EXECUTION", "cache")  # "force" executes everything
nb_execution_cache_path = str(ROOT / "build" / "executed")
nb_execution_in_temp = True  # what a chapter writes stays out of the checkout
nb_execution_timeout = 300
nb_execution_show_tb = True  # an error is a warning, and a warning ends in failure
nb_merge_streams = True

# --- Python reference -------------------------------------------------------------------------------------------------

default_role = "code"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
add_module_names = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 90
toc_object_entries_show_parents = "hide"

# --- pages ------------------------------------------------------------------------------------------------------------

html_theme = "pydata_sphinx_theme"
html_title = "descend"
html_static_path = ["_static"]
templates_path = ["_templates"]
html_css_files = ["book.css"]
html_js_files = ["book.js"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_show_search_summary = False  # it would be fetched, which a browser refuses to a page opened from disk
html_sidebars = {"**": ["contents.html"]}
html_theme_options = {
    "logo": {"text": "descend"},
    "navbar_center": [],
    "navbar_end": ["theme-switcher"],
    "navbar_persistent": ["search-button"],
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
mathjax_path = "mathjax.js"
mathjax3_config = {"options": {"enableMenu": False}, "svg": {"fontCache": "local"}}

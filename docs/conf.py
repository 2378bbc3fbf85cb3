"""The site: `nox -s docs` builds it into docs/_build/html, with every warning an error."""

import re
import sys
from pathlib import Path

import xpnet

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import picture  # noqa: E402
import rooms  # noqa: E402

project = "xpnet"
author = "the xpnet developers"
copyright = author
release = version = xpnet.__version__
language = "en"

extensions = [
    "myst_nb",  # Markdown, and the code cells of the tutorial
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]
nitpicky = True
# In docstrings single backticks are for names (linked) and for parameters (not linked).
nitpick_ignore_regex = [
    ("py:obj", "[a-z_]+"),
    ("py:class", r"contextlib\.nullcontext"),
    ("py:obj", r"sklearn\..*"),  # its names are linked nowhere: the site is whole without a network
]
# Patterns of toctrees must match something: [bp][er]* is the promises, the page on many machines,
# and the benchmarks where `nox -s bench` has written them.

# The API reference: types are in the docstrings, so signatures need none.
autosummary_generate = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
default_role = "autolink"
numpydoc_show_class_members = False
add_module_names = False
toc_object_entries = False

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

# Every cell is run by every build, and one that fails fails the build.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True
nb_output_stderr = "error"  # a warning in a cell

html_theme = "pydata_sphinx_theme"
html_title = "xpnet"
html_static_path = ["_static"]
html_css_files = ["xpnet.css"]
html_copy_source = False
html_show_sourcelink = False
# Pages without pages below them need no navigation at their side.
html_sidebars = {
    page: []
    for page in (
        "index", "tutorial", "benchmarks", "beyond-one-machine", "promises", "how-it-is-built"
    )
}
html_theme_options = {
    "navbar_end": ["theme-switcher"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": True,
    "navigation_with_keys": False,
}
copybutton_exclude = ".linenos, .gp, .go"


def draw(app):
    """Write the pictures that are neither committed nor made by a cell of the tutorial."""
    rooms.write(HERE / "_generated")
    picture.write(HERE / "_generated")


def is_scikit_learns(app, what, name, thing, skip, options):
    """Leave out what scikit-learn makes for every estimator; its words refer to its own site."""
    return bool(re.fullmatch("set_.*_request|get_metadata_routing", name)) or None


def setup(app):
    """Draw the pictures before the pages are read."""
    app.connect("builder-inited", draw)
    app.connect("autodoc-skip-member", is_scikit_learns)

"""Configuration of Sphinx; `make docs` builds the pages into docs/_build/html."""

import os
import sys
from pathlib import Path

import sksep

_DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(_DOCS), str(_DOCS / "_ext")]

project = "sksep"
author = "The sksep developers"
copyright = "2026, the sksep developers"
version = release = sksep.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
    "sphinx_design",
    "sphinx_click",
    "sphinx_copybutton",
    "myst_parser",
    "sphinx-mathjax-offline",
    # In _ext/:
    "names",
    "measured_figures",
    "drawings",
]
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}
exclude_patterns = ["_build", "_templates", "_generated", "gallery/*.ipynb", "gallery/*.py"]
templates_path = ["_templates"]
nitpicky = True
default_role = "autolink"
# An example that fails, or a page that names what is not there, must fail the build; pictures that
# examples draw have no captions to warn about.
suppress_warnings = ["config.cache"]

autosummary_generate = True
autosummary_generate_overwrite = True
autodoc_typehints = "none"  # types stand in the docstrings, with shapes and units
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_use_plots = False
myst_heading_anchors = 3
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"plot_",
    "ignore_pattern": r"^demo\.py$",
    "within_subsection_order": "gallery_order.Order",
    "abort_on_example_error": True,
    "parallel": os.cpu_count() or 1,
    "doc_module": ("sksep",),
    "reference_url": {"sksep": None},
    "backreferences_dir": "gallery/backreferences",
    "capture_repr": ("_repr_html_", "__repr__"),
    # AudioDisplay shows itself; of the others the figure is shown.
    "ignore_repr_types": r"matplotlib|numpy\.ndarray|(?<!Audio)Display'",
    "image_srcset": ["2x"],
    "matplotlib_animations": False,
    "remove_config_comments": True,
    "plot_gallery": "True",
    "show_memory": False,
    "write_computation_times": False,
}

html_theme = "pydata_sphinx_theme"
html_title = "sksep"
html_favicon = "_static/favicon.svg"
html_static_path = ["_static"]
html_css_files = ["sksep.css"]
html_theme_options = {
    "navbar_align": "left",
    "show_toc_level": 2,
    "show_prev_next": True,
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_sidebars = {page: [] for page in ("changelog", "citing", "figures", "measurements", "support")}
html_show_sourcelink = False
html_context = {"default_mode": "auto"}

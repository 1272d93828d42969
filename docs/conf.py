"""How Sphinx builds the documentation: `sphinx-build -W docs site`. Warnings, such as broken links, are errors."""

import kerasmlp

project = "kerasmlp"
copyright = "the kerasmlp authors, MIT licence"
version = release = kerasmlp.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["README.md"]

html_theme = "furo"
html_title = "kerasmlp"

myst_heading_anchors = 3  # links to sections, as in `training.md#your-own-keras-model`
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_default_options = {"exclude-members": "__init__"}
default_role = "code"  # docstrings write code in single backticks
napoleon_google_docstring, napoleon_numpy_docstring = True, False
nitpicky = False  # types of other packages have no page here

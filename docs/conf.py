"""How the pages of docs/ become a site: `make docs`."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))
sys.path.insert(0, str(Path(__file__).parents[1]))  # the hf_audio beside these pages, not an installed one

import hf_audio

project = "hf_audio"
author = "The hf_audio authors"
release = hf_audio.__version__

extensions = [
    "myst_nb",  # pages are the Markdown and the notebook that a forge shows too
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "built_text",
    "repository_links",
    "external_links",
]
exclude_patterns = ["_ext", "templates"]
html_theme = "furo"
html_title = f"hf_audio {release}"
html_copy_source = False
smartquotes = False  # two hyphens begin a flag
default_role = "code"  # docstrings write names between single backticks

# Links like data.md#splits are checked against the headings, named as forges name them.
myst_heading_anchors = 4
myst_enable_extensions = ["deflist"]
nb_execution_mode = "off"  # a notebook is shown as it was run last

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # attributes of a class in its own list, not as entries beside its fields

# Files of the repository that are no pages: links to the forge where it builds the site, else copies to download.
_forge, _name = os.environ.get("GITHUB_SERVER_URL"), os.environ.get("GITHUB_REPOSITORY")
repository_url = f"{_forge}/{_name}/blob/main" if _forge and _name else ""

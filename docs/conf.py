"""Settings of the documentation site: `hatch run docs:build` writes it to site/.

The sources are the Markdown files of the root, of docs/ and of sample_project/, so that their links
lead to the same places on the site and in the repository.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import MagicMock

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[1]
METADATA = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# The docstrings of vggq.torch can be read without torch, which is a large download.
sys.modules |= {name: MagicMock() for name in ("torch", "torch.overrides")}
sys.path.insert(0, str(ROOT / "src"))

project = METADATA["name"]
author = METADATA["authors"][0]["name"]
release = METADATA["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
root_doc = "docs/index"
include_patterns = ["*.md", "docs/*.md", "sample_project/*.md", "sample_project/onnx_sample/*.md"]

myst_enable_extensions = ["alert"]
# A link to a heading has the anchor that GitHub gives to it.
myst_heading_anchors = 6

# Docstrings have code in single backticks.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_maximum_signature_line_length = 88

html_theme = "furo"
html_title = project
html_copy_source = False
html_show_copyright = False
html_extra_path = ["site_root"]
html_static_path = ["site_static"]
html_css_files = ["site.css"]
html_theme_options = {
    "source_repository": METADATA["urls"]["Repository"],
    "source_branch": "main",
    "source_directory": "",
}


def setup(app: Sphinx) -> None:
    """Leave out the parameters of classes, which readers do not create themselves."""
    app.connect("autodoc-process-signature", leave_out_parameters)


def leave_out_parameters(_app: Sphinx, kind: str, *_: object) -> tuple[str, None] | None:
    """Return an empty signature for a class, and None to keep that of a function."""
    return ("", None) if kind in {"class", "exception"} else None

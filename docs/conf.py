"""The site: `make site` builds it with Sphinx from the pages as they stand in this folder, into build/site."""

import re
from pathlib import Path

from docutils import nodes
from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]

project = "dhtchat"
author = "The dhtchat authors"
copyright = author
[release] = re.findall(r'^__version__ = "(.+)"$', (ROOT / "dhtchat" / "__init__.py").read_text(encoding="utf-8"), re.M)

extensions = ["myst_parser"]
root_doc = "index"
exclude_patterns = ["conf.py"]
myst_heading_anchors = 4
"""The anchors that links between the pages use, as GitHub makes them."""
suppress_warnings = ["myst.header"]  # a decision may begin with a table
highlight_language = "text"
html_theme = "furo"
html_title = "dhtchat"
html_copy_source = False
html_show_sphinx = False


def link_to_decisions(app: Sphinx, page: str, source: list[str]) -> None:
    """A folder has a page of its own in a forge, and none on a site."""
    source[0] = source[0].replace("](decisions/)", "](index.md#why-it-is-so)")


def link_to_sources(app: Sphinx, doctree: nodes.document) -> None:
    """A link to a file of the checkout leads nowhere on a site: what it says stays, as text."""
    for link in list(doctree.findall(nodes.reference)):
        target = link.get("refuri", "")
        if target.startswith(("../", "bootstrap/")):
            link.replace_self(link.children)


def setup(app: Sphinx) -> None:
    app.connect("source-read", link_to_decisions)
    app.connect("doctree-read", link_to_sources)
    app.add_lexer("mermaid", TextLexer)  # a forge draws it; here it stands as its text, which can be read as well

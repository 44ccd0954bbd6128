"""The site builds without a warning, has every page, and its links between pages lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.docs.pages import PAGES, ROOT

pytestmark = pytest.mark.process

DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `make site` builds it."""
    folder = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-W",
        "--keep-going",
        "-n",
        "-b",
        "html",
        "-d",
        str(folder / "cache"),
    ]
    built = subprocess.run([*command, str(DOCS), str(folder / "html")], capture_output=True, text=True, timeout=300)
    assert built.returncode == 0, built.stderr
    return folder / "html"


def test_the_command_is_the_one_that_make_has(site: Path) -> None:
    assert "-m sphinx -q -W --keep-going -n -b html docs build/site" in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_every_page_is_on_the_site(site: Path) -> None:
    for page in PAGES:
        if DOCS in page.parents:
            assert (site / page.relative_to(DOCS).with_suffix(".html")).exists(), page


def test_links_lead_to_pages_and_headings(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r'<a [^>]*href="([^"]+)"', text):
            path, _, anchor = unquote(target).partition("#")
            if re.match(r"(?:https?|mailto|data):", path):
                continue
            linked = (page.parent / path).resolve() if path else page
            assert linked.exists(), f"{page.name}: {target}"
            if anchor and linked.suffix == ".html":
                assert f'id="{anchor}"' in linked.read_text(encoding="utf-8"), f"{page.name}: {target}"

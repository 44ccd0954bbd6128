"""Finds `bootstrap` and `simulations`: beside `dhtchat/` in a checkout, below it once installed.

No code in `dhtchat` imports them by name: that depends on where we run (docs/decisions/0001-companion-folders.md).
What this file guards: a folder of somebody else that happens to have the same name is never imported.
"""

import sys
import tomllib
from importlib import import_module
from pathlib import Path
from types import ModuleType

COMPANIONS = ("bootstrap", "simulations")

_package = Path(__file__).resolve().parent


def load(name: str, module: str = "") -> ModuleType:
    """Import the companion `name`, or its module `module`: `load("simulations", "scenarios.churn")`.

    Raises ImportError when the folder is in neither place, or when another package of that name came first.
    """
    if name not in COMPANIONS:
        raise ImportError(f"{name!r} is not one of the companions {', '.join(COMPANIONS)}", name=name)
    if (_package / name / "__init__.py").is_file():
        package = f"{__package__}.{name}"
    else:
        _import_from_checkout(name)
        package = name
    return import_module(f"{package}.{module}" if module else package)


def _import_from_checkout(name: str) -> None:
    """Import the top-level package `name` from the checkout we run from, and from nowhere else."""
    root = _package.parent
    folder = root / name
    if not (_is_our_checkout(root) and (folder / "__init__.py").is_file()):
        raise ImportError(
            f"{name} is missing: neither {_package / name} nor a dhtchat checkout with {folder} exists", name=name
        )
    # First, not just somewhere: an editable install puts the root last, behind any other package called `bootstrap`.
    if sys.path[:1] != [str(root)]:
        sys.path.insert(0, str(root))
    found = import_module(name)
    if str(folder) not in {str(Path(entry).resolve()) for entry in getattr(found, "__path__", [])}:
        place = getattr(found, "__file__", None) or "another package of that name"
        raise ImportError(f"{name} should come from {folder}, but {place} was imported before", name=name)


def _is_our_checkout(root: Path) -> bool:
    """Whether `root` is the project itself, not a site-packages folder or a project that has a copy of `dhtchat/`."""
    try:
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8")).get("project", {})
    except (OSError, ValueError):  # ValueError: not TOML, or not UTF-8
        return False
    return isinstance(project, dict) and project.get("name") == "dhtchat"

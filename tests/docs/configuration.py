"""Makes docs/configuration.md of the settings, their defaults and what stands under them in the code.

`python -m tests.docs.configuration` writes it; a test compares it with what stands there.
"""

import ast
import inspect
import itertools
import re
from pathlib import Path
from typing import Any, Final, get_type_hints

import msgspec

from dhtchat.app import preferences
from dhtchat.app.preferences import Appearance, Notifications
from dhtchat.tui import themes
from dhtchat.tui.keys import ACTIONS
from tests.docs.options import environment, options

PAGE: Final = Path(__file__).parents[2] / "docs" / "configuration.md"

_HEAD: Final = """# Configuration

What you want on every run of the full screen stands in `config.toml` in the data folder
([where it lies](user-guide.md#where-files-lie)). All of it may be left out. A mistake in it is said before the screen opens.
What holds for one run stands [on the command line](#on-the-command-line) and [in the environment](#in-the-environment).

```toml
[screen]
theme = "light"
mouse = false

[notifications]
quiet_hours = "22:00-07:30"

[keys]
next-active = "alt+a,ctrl+n"
```

This page is made from the code by `python -m tests.docs.configuration`.
"""
_KEYS: Final = """## `[keys]`

The name of an action, and the keys that it shall have, with commas between. Those it had before are free then. Keys are written
as `ctrl+n`, `alt+left`, `shift+f5`, `pageup`, `home`, `escape`.

| action | keys | does |
|---|---|---|
"""
_THEME: Final = """## A theme file

`theme = "mine.toml"` takes the colours from a file `mine.toml` in the data folder. What is left out is as in the
theme that it is `like`. F2 changes to the other one of `dark` and `light`.

```toml
like = "light"
background = "#fdf6e3"
accent = "#1f55b5"
```

"""


def page() -> str:

    rows = "\n".join(f"| `{action.name}` | `{action.keys}` | {action.does} |" for action in ACTIONS)
    return "\n".join(
        [
            _HEAD,
            f"## `[screen]`\n\n{_doc(Appearance)}\n\n{_table(Appearance, preferences)}",
            f"## `[notifications]`\n\n{_doc(Notifications)}\n\n{_table(Notifications, preferences)}",
            f"{_KEYS}{rows}\n",
            f"{_THEME}{_table(themes.ThemeFile, themes)}",
            options(),
            environment(),
        ]
    )


def _doc(section: type) -> str:
    return _one_line(section.__doc__ or "")


def _table(section: Any, module: Any) -> str:
    said = _docstrings(section, module)
    lines = ["| setting | default | means |", "|---|---|---|"]
    for field in msgspec.structs.fields(section):
        default = field.default if field.default is not msgspec.NODEFAULT else ()
        shown = (
            "" if default in (None, (), "") else f"`{str(default).lower() if isinstance(default, bool) else default}`"
        )
        lines.append(f"| `{field.name}` | {shown} | {said.get(field.name, '')} |")
    assert get_type_hints(section).keys() >= said.keys()
    return "\n".join(lines) + "\n"


def _docstrings(section: type, module: Any) -> dict[str, str]:
    """What stands under each field."""
    tree = ast.parse(inspect.getsource(module))
    [body] = [node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == section.__name__]
    return {
        before.target.id: _one_line(after.value.value)
        for before, after in itertools.pairwise(body)
        if isinstance(before, ast.AnnAssign)
        and isinstance(before.target, ast.Name)
        and isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
        and isinstance(after.value.value, str)
    }


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

"""Text in a place of a fixed size, drawn again only when it says something else."""

from rich.text import Text
from textual.widgets import Static


class Still(Static):
    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, markup=False)
        self._put: tuple[str, object] | None = None

    def put(self, text: Text | str) -> None:
        """Show `text`, which is cleaned."""
        said = (text.plain, text.spans) if isinstance(text, Text) else (text, None)
        if said != self._put:
            self._put = said
            self.update(text, layout=False)

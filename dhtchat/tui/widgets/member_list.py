"""Who is in the current room, and who of them is online."""

from rich.cells import cell_len, set_cell_size
from rich.style import Style
from rich.text import Text
from textual.widgets import Static

from dhtchat.tui.talks import Talks
from dhtchat.tui.themes import Palette, colour_of

_CELLS = 16
"""As the style sheet has it, without its padding."""
_HAND = " ✋"
_ROLES = {"owner": "~", "moderator": "@", "speaker": " ", "listener": "-"}


class MemberList(Static):
    """Those online first; a raised hand is shown."""

    def __init__(self) -> None:
        super().__init__(id="members", markup=False)

    def show(self, talks: Talks, palette: Palette) -> None:
        rows = Text()
        members = [
            (name, member, talks.online.get(name, member.online) or name == talks.user)
            for name, member in talks.current.members.items()
        ]
        for name, member, is_online in sorted(members, key=lambda row: (not row[2], row[0]))[: self.size.height or 50]:
            hand = _HAND if member.hand else ""
            shown = set_cell_size(name, _CELLS - 2 - cell_len(hand))
            style = Style(color=colour_of(name, palette) if is_online else palette.faint)
            rows.append(f"{'●' if is_online else '○'}{_ROLES[member.role]}{shown}{hand}\n", style)
        self.update(rows)

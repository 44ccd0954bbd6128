"""Who is in the current room, and who of them is online."""

from rich.cells import cell_len, set_cell_size
from rich.style import Style
from rich.text import Text

from dhtchat.tui.talks import Talks
from dhtchat.tui.themes import Palette, colour_of
from dhtchat.tui.widgets.still import Still

_CELLS = 16
"""As the style sheet has it, without its padding."""
_HAND = " ✋"
_ROLES = {"owner": "~", "moderator": "@", "speaker": " ", "listener": "-"}


class MemberList(Still):
    """Those online first, away or not; a raised hand is shown."""

    def __init__(self) -> None:
        super().__init__(id="members")
        self._shown: object = None

    def show(self, talks: Talks, palette: Palette) -> None:
        state = talks.current.name, talks.current.members_version, palette, self.size.height, bool(talks.away)
        if state == self._shown:
            return  # hundreds of members are not to be sorted for each line that is said
        self._shown = state
        rows = Text()
        members = [
            (name, member, talks.online.get(name, member.online) or name == talks.user)
            for name, member in talks.current.members.items()
        ]
        members.sort(key=lambda row: (not row[2], row[0]))
        room = self.size.height or len(members)
        shown_max = room if len(members) <= room else room - 1
        for name, member, is_online in members[:shown_max]:
            is_away = bool(talks.away) if name == talks.user else name in talks.away_people
            sign = "○" if not is_online else "◐" if is_away else "●"
            hand = _HAND if member.hand else ""
            shown = set_cell_size(name, _CELLS - 2 - cell_len(hand))
            style = Style(color=colour_of(name, palette) if is_online else palette.faint)
            rows.append(f"{sign}{_ROLES[member.role]}{shown}{hand}\n", style)
        if len(members) > shown_max:
            rows.append(f"and {len(members) - shown_max} more", Style(color=palette.faint))
        self.put(rows)

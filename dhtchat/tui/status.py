"""The words of the status line. No I/O."""

from rich.cells import cell_len, set_cell_size

from dhtchat.chat.markup import clean
from dhtchat.tui.talks import Talks

_NAME_CELLS_MAX = 20


def status_line(talks: Talks, cells: int) -> str:
    """Who one is, how the connection is, what waits, in `cells`. What there is no room for goes, the least needed first:
    the role in the room, the own name, then how many peers are known, then that all is well."""
    hints = [*_below(talks), *_elsewhere(talks), *_floor(talks)]
    state = talks.connection
    known = f"{state}, {talks.peers} peer{'s' * (talks.peers != 1)} known"
    short = [] if state == "online" else [state]
    me = f"{talks.user} (away)" if talks.away else talks.user
    choices = [
        [f"{me} · {known}{_role(talks)}", *hints],
        [f"{me} · {known}", *hints],
        [known, *hints],
        [state, *hints],
        [*short, *hints],
        [*short, *hints[:1]],
        short or hints[:1],
    ]
    lines = [clean(f" {'   '.join(parts)}", single_line=True) for parts in choices if parts]
    return next((line for line in lines if cell_len(line) <= cells), lines[-1])


def _role(talks: Talks) -> str:
    """What one is in this room, where that is more than others are."""
    me = talks.current.members.get(talks.user)
    return f" · {me.role} here" if me is not None and me.role in ("owner", "moderator") else ""


def _floor(talks: Talks) -> list[str]:
    """Who has to ask for the floor, and who has to hand it out."""
    members = talks.current.members
    me = members.get(talks.user)
    if me is None or me.role == "speaker":
        return []
    if me.role == "listener":
        return ["your hand is up" if me.hand else "you listen: /hand asks for the floor"]
    hands = sum(member.hand for member in members.values())
    return [f"{hands} hand{'s' * (hands != 1)} up: /hands"] if hands else []


def _below(talks: Talks) -> list[str]:
    """What came in below the end of the screen."""
    if talks.is_watched or not talks.current.unread:
        return []
    return [f"PgDn: {len(talks.current.unread)} new"]


def _elsewhere(talks: Talks) -> list[str]:
    hottest = talks.hottest()
    if hottest is None:
        return []
    name = hottest.name
    if cell_len(name) > _NAME_CELLS_MAX:
        name = set_cell_size(name, _NAME_CELLS_MAX - 1) + "…"
    return [f"Alt+A: {name} ({len(hottest.unread)})"]

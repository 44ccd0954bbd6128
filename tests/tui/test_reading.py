"""A line counts as read only when its end of the talk was before somebody's eyes."""

from textual.events import AppBlur, AppFocus

from dhtchat.chat import events, intents
from tests.tui.screens import ScriptedPeer, line, rows, screen_of

FILL = [events.TargetChanged(target="#lobby"), *(line(f"line {n}", number=n, minute=1) for n in range(1, 60))]


def read_by(peer: ScriptedPeer) -> list[str]:
    return [line for asked in peer.asked if isinstance(asked, intents.MarkRead) for line in asked.lines]


async def test_what_comes_in_below_the_screen_is_not_read_until_it_is_shown() -> None:
    peer = ScriptedPeer()
    async with screen_of(peer).run_test() as pilot:
        peer.tell(*FILL)
        await pilot.pause(0)
        await pilot.press("pageup")
        peer.tell(line("news", number=70, minute=2))
        await pilot.pause(0)
        assert f"{70:064x}" not in read_by(peer)
        assert any("PgDn: 1 new" in row for row in rows(pilot.app))
        await pilot.press("pagedown", "pagedown")
        await pilot.pause(0)
        assert f"{70:064x}" in read_by(peer)
        shown = rows(pilot.app)
        assert not any("PgDn: " in row for row in shown)
        assert " new " in next(row for at, row in enumerate(shown) if "news" in shown[at + 1]), "the read marker"


async def test_what_comes_in_while_the_terminal_is_not_in_front_is_not_read() -> None:
    peer = ScriptedPeer()
    async with screen_of(peer).run_test() as pilot:
        peer.tell(*FILL)
        await pilot.pause(0)
        pilot.app.post_message(AppBlur())
        await pilot.pause(0)
        peer.tell(line("news", number=70, minute=2))
        await pilot.pause(0)
        assert f"{70:064x}" not in read_by(peer)
        assert any("news" in row for row in rows(pilot.app))
        pilot.app.post_message(AppFocus())
        await pilot.pause(0)
        await pilot.pause(0)
        assert read_by(peer).count(f"{70:064x}") == 1


async def test_the_end_stays_in_sight_while_one_writes_several_lines() -> None:
    peer = ScriptedPeer()
    async with screen_of(peer).run_test() as pilot:
        peer.tell(*FILL)
        await pilot.pause(0)
        for _ in range(6):
            await pilot.press(*"more", "ctrl+j")
            await pilot.pause(0)
            assert any("line 59" in row for row in rows(pilot.app))


async def test_a_line_stays_where_it_is_when_the_window_changes_its_width() -> None:
    peer = ScriptedPeer()
    long = "word " * 30
    async with screen_of(peer).run_test(size=(120, 24)) as pilot:
        peer.tell(
            events.TargetChanged(target="#lobby"),
            *(line(f"{n} {long}", number=n, minute=1) for n in range(1, 60)),
        )
        await pilot.pause(0)
        await pilot.press("pageup", "pageup")
        await pilot.pause(0)
        top = next(row.split("bob ")[1].split()[0] for row in rows(pilot.app) if "bob " in row)
        for width in (60, 100, 30, 120):
            await pilot.resize_terminal(width, 24)
            await pilot.pause(0)
        assert top == next(row.split("bob ")[1].split()[0] for row in rows(pilot.app) if "bob " in row)


async def test_the_number_of_known_peers_is_kept_current_without_a_word() -> None:
    def status(peers: int) -> events.PeerStatus:
        return events.PeerStatus(user="alice", address="127.0.0.1:1", peers=peers, links=7, rooms=[], since="")

    peer = ScriptedPeer()
    async with screen_of(peer).run_test() as pilot:
        peer.tell(
            events.Ready(user="alice", fingerprint="ab", address="127.0.0.1:1", peers=3, version="0"),
            status(5),
            events.Disconnected(reason="nobody answers"),
        )
        await pilot.pause(0)
        assert any("alice · reconnecting, 5 peers known" in row for row in rows(pilot.app))
        assert not any("7 links" in row for row in rows(pilot.app))
        await pilot.press(*"/status", "enter")
        peer.tell(status(1))
        await pilot.pause(0)
        assert any("1 peer known" in row for row in rows(pilot.app))
        assert any("7 links" in row for row in rows(pilot.app))

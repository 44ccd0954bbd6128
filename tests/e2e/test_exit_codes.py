"""The table "Exit codes and errors" of the contract, command by command."""

import asyncio
import signal

import pytest

from tests.e2e.world import (
    LOCALLY,
    Ended,
    World,
    address_of,
    enter_room,
    password_of,
    silent_udp_socket,
    wait_for_line,
)

pytestmark = pytest.mark.process


def assert_refused(ended: Ended, exit_code: int, code: str) -> None:
    """ "An error is two lines on standard error: what happened, and what to do about it. With `--json` it is one object
    `{"event": "error", "code": ..., "message": ..., "hint": ...}` on standard output as well." """
    assert (ended.code, [event.get("code") for event in ended.events]) == (exit_code, [code]), ended
    assert ended.events[0].keys() == {"event", "code", "message", "hint"}
    first, second = ended.errors
    assert first == f"error: {ended.error['message']}"
    assert second.strip() == ended.error["hint"]
    assert second.strip()


WRONG_USAGE = (
    [],
    ["join", "alice", "--no-such-option"],
    ["join"],
    ["join", "alice", "--bootstrap", "nonsense"],
    ["join", "alice", "--network", "no-such-file.toml"],
    ["join", "alice", "--password-file", "no-such-file"],
    ["join", "alice", "--password-stdin", "--password-file", "README.md"],
    ["register", "alice", "--password-stdin"],
    ["passwd", "alice"],
    ["bootstrap", "--metrics", "nonsense"],
    ["bootstrap", "--check", "nonsense"],
)


async def test_wrong_usage(world: World) -> None:
    """ "2 | `usage` | wrong usage": among it no terminal to ask for a password, and an input that ends before one."""
    for ended in await asyncio.gather(*(world.run(*arguments) for arguments in WRONG_USAGE)):
        assert_refused(ended, 2, "usage")


async def test_nobody_answers(world: World) -> None:
    """ "3 | `nobody-reachable` | no node answered" """
    with silent_udp_socket() as silent:
        at = ("--bootstrap", address_of(silent))
        ends = await asyncio.gather(
            world.run("register", "alice", *at, password=password_of("alice")),
            world.run("join", "alice", *at, folder="join", password=password_of("alice")),
            world.run("join", "alice", "--register", *at, folder="join-new", password=password_of("alice")),
            world.run("passwd", "alice", *at, password=f"{password_of('alice')}\n{password_of('other')}"),
            world.run("bootstrap", "--check", at[1]),
            world.run("bootstrap", "--check", "no-such-host.invalid:1"),
            world.run("register", "alice", "--bootstrap", "no-such-host.invalid:1", password=password_of("alice")),
        )
    for ended in ends:
        assert_refused(ended, 3, "nobody-reachable")


async def test_accounts_are_refused_for_a_reason(world: World) -> None:
    """ "4 | `no-such-account`, `wrong-password` | which of the two is said", "5 | `name-taken`", "6 | `weak-password`,
    `bad-name` | refused by policy, with advice"; and 0 where nothing is refused."""
    await world.open_door()
    at = world.bootstrap
    mine, other = password_of("alice"), password_of("other")
    registered = await world.run("register", "Alice", *at, password=mine)
    assert (registered.code, registered.errors) == (0, [])
    assert [(event["event"], event["user"]) for event in registered.events] == [("registered", "alice")]

    commands = (
        ((4, "no-such-account"), ("passwd", "nobody"), f"{mine}\n{other}"),
        ((4, "wrong-password"), ("passwd", "alice"), f"{other}\n{mine}"),
        ((5, "name-taken"), ("register", "alice"), other),
        ((6, "weak-password"), ("register", "bob"), "short"),
        ((6, "weak-password"), ("passwd", "alice"), f"{mine}\nalicealice12"),
        ((6, "weak-password"), ("join", "bob", "--register"), "password123"),
        ((6, "bad-name"), ("register", "no spaces"), mine),
        ((6, "bad-name"), ("register", "root"), mine),
        ((6, "bad-name"), ("join", "alice", "--room", "#no spaces"), mine),
    )
    ends = await asyncio.gather(*(world.run(*command, *at, password=password) for _, command, password in commands))
    for (refusal, _, _), ended in zip(commands, ends, strict=True):
        assert_refused(ended, *refusal)


@pytest.mark.parametrize(
    "arguments, password, exit_code, code",
    [
        (["nobody"], password_of("alice"), 4, "no-such-account"),
        (["alice#aaaa-aaaa-aaaa-aaaa"], password_of("alice"), 4, "no-such-account"),
        (["alice"], password_of("other"), 4, "wrong-password"),
        (["alice", "--register"], password_of("other"), 5, "name-taken"),
    ],
)
async def test_a_login_is_refused_for_a_reason(
    world: World, arguments: list[str], password: str, exit_code: int, code: str
) -> None:
    """The same codes 4 and 5, from `join`."""
    await world.open_door()
    assert (await world.run("register", "alice", *world.bootstrap, password=password_of("alice"))).code == 0
    assert_refused(await world.run("join", *arguments, *world.bootstrap, password=password), exit_code, code)


async def test_a_weak_password_is_refused_before_anybody_is_asked(world: World) -> None:
    """ "6 | `weak-password`": with advice, and without a network, too."""
    with silent_udp_socket() as silent:
        at = ("--bootstrap", address_of(silent))
        ended = await world.run("register", "alice", *at, password="password123", timeout_s=3.0)
        assert_refused(ended, 6, "weak-password")
        ended = await world.run("join", "alice", "--register", *at, password="password123", timeout_s=3.0)
        assert_refused(ended, 6, "weak-password")


async def test_without_json_standard_output_stays_empty(world: World) -> None:
    """ "An error is two lines on standard error" """
    ended = await world.run("register", "root", password=password_of("root"), json=False)
    assert (ended.code, ended.lines, len(ended.errors)) == (6, [], 2)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_bootstrap_node_ends_in_good_order_on_a_signal(world: World, number: signal.Signals) -> None:
    """ "runs a bootstrap node until SIGINT or SIGTERM": that is no error."""
    door = await world.open_door()
    door.send_signal(number)
    assert await door.exit_code(timeout_s=5.0) == 0
    assert door.errors == []


async def test_interrupts_end_a_chat_with_130(world: World) -> None:
    """ "130 | | interrupted": others see it leave all the same."""
    await world.open_door()
    alice, bob, carol = await world.join_all("alice", "bob", "carol")
    await enter_room("#lobby", carol, alice, bob)
    for peer, number in ((alice, signal.SIGINT), (bob, signal.SIGTERM)):
        peer.send_signal(number)
        assert await peer.exit_code(timeout_s=5.0) == 130
        assert peer.errors == []
        assert peer.events[-1]["event"] == "bye"
        await carol.wait_for_event("presence", user=peer.name, online=False, timeout_s=2.0)


@pytest.mark.parametrize("command", ["register", "join"])
async def test_an_interrupt_while_the_network_is_searched_ends_at_once(world: World, command: str) -> None:
    """ "130 | | interrupted": also before there is anything to leave."""
    with silent_udp_socket() as silent:
        arguments = (command, "alice", "--bootstrap", address_of(silent), *LOCALLY)
        process = await world.start(command, *arguments, password=password_of("alice"))
        silent.setblocking(False)
        async with asyncio.timeout(20.0):
            await asyncio.get_running_loop().sock_recv(silent, 2_000)  # its question is here: it waits for an answer
        process.send_signal(signal.SIGINT)
        assert await process.exit_code(timeout_s=3.0) == 130
        assert process.errors == []


async def test_a_port_in_use_is_said_so(world: World) -> None:
    """ "2 | `usage`": with the advice to take another port."""
    with silent_udp_socket() as taken:
        port = str(taken.getsockname()[1])
        assert_refused(await world.run("bootstrap", *LOCALLY, "--port", port), 2, "usage")


async def test_text_mode_of_the_commands(world: World) -> None:
    """ "what prints data takes `--json`": without it, the same facts as text."""
    door = await world.start("bootstrap", "bootstrap", *LOCALLY, "--port", "0", json=False)
    line = await wait_for_line(door, "-- bootstrap node ready")
    address = line.rpartition(" ")[2]
    ended = await world.run("register", "alice", "--bootstrap", address, password=password_of("alice"), json=False)
    assert ended.code == 0
    assert [line.startswith("-- registered alice, fingerprint ") for line in ended.lines] == [True]
    ended = await world.run("bootstrap", "--check", address, json=False)
    assert ended.code == 0
    assert address.partition("/")[2] in ended.lines[0]

"""The small web server, by clients that are honest, slow, many or out of their mind."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator

import pytest

from bootstrap.pages import PLAIN, Page, answer_to, serve_pages
from dhtchat.errors import AddressInUse
from dhtchat.ids import Endpoint
from dhtchat.limits import HTTP_CLIENTS_MAX, HTTP_HEAD_BYTES_MAX
from dhtchat.runtime import RealNetwork

PAGES = {"/metrics": Page(PLAIN, lambda: "figures\n"), "/healthz": Page(PLAIN, lambda: "ok\n")}
LOOPBACK = Endpoint("127.0.0.1", 0)


@pytest.fixture
async def address() -> AsyncIterator[Endpoint]:
    async with serve_pages(LOOPBACK, PAGES, RealNetwork()) as bound:
        yield bound


async def ask(address: Endpoint, request: bytes) -> tuple[str, str]:
    """Head and body of the answer."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(request)
    answer = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition("\r\n\r\n")
    return head, body


@pytest.mark.parametrize(
    "line, status, body",
    [
        ("GET /metrics HTTP/1.1", 200, "figures\n"),
        ("GET /metrics?name[]=a HTTP/1.0", 200, "figures\n"),
        ("HEAD /metrics HTTP/1.1", 200, ""),
        ("GET /healthz HTTP/1.1", 200, "ok\n"),
        ("GET /metricsandmore HTTP/1.1", 404, "see /metrics or /healthz\n"),
        ("GET / HTTP/1.1", 404, "see /metrics or /healthz\n"),
        ("POST /metrics HTTP/1.1", 405, "Method Not Allowed\n"),
        ("get /metrics HTTP/1.1", 405, "Method Not Allowed\n"),
        ("GET /metrics", 400, "Bad Request\n"),
        ("GET /metrics SPDY/3", 400, "Bad Request\n"),
    ],
)
async def test_a_request_is_answered_by_method_and_path(address: Endpoint, line: str, status: int, body: str) -> None:
    """And with headers behind it, as every real client sends them."""
    head, found = await ask(address, f"{line}\r\nHost: localhost\r\nAccept: */*\r\n\r\n".encode())
    assert (int(head.split()[1]), found) == (status, body)
    assert "Connection: close" in head
    if status == 405:
        assert "Allow: GET, HEAD" in head


async def test_a_head_says_how_long_the_page_would_be(address: Endpoint) -> None:
    head, _ = await ask(address, b"HEAD /metrics HTTP/1.1\r\n\r\n")
    assert "Content-Length: 8" in head


def test_whatever_the_bytes_there_is_an_answer(rng: random.Random) -> None:
    """Property: every head gets one, and never the page by mistake."""
    for _ in range(2_000):
        head = rng.choice([b"", b"GET ", b"GET /metrics", b"\r\n"]) + rng.randbytes(rng.randrange(60))
        answer = answer_to(head + b"\r\n\r\n", PAGES)
        assert answer.startswith(b"HTTP/1.1 4"), head


async def test_a_request_without_end_is_cut_off(address: Endpoint) -> None:
    head, _ = await ask(address, b"GET /" + b"x" * (HTTP_HEAD_BYTES_MAX + 1))
    assert head.split()[1] == "431"


async def test_those_who_wait_keep_nobody_out(address: Endpoint) -> None:
    """Goal: with more half requests open than there is room for, the next one is served; the oldest went."""
    waiting = [await asyncio.open_connection(*address) for _ in range(HTTP_CLIENTS_MAX + 4)]
    for _, writer in waiting:
        writer.write(b"GET /metrics HTTP/1.1\r\n")
    head, _ = await ask(address, b"GET /metrics HTTP/1.1\r\n\r\n")
    assert head.split()[1] == "200"
    for reader, _ in waiting[:5]:
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
    waiting[-1][1].write(b"\r\n")
    assert (await waiting[-1][0].read()).startswith(b"HTTP/1.1 200 ")
    for _, writer in waiting:
        writer.close()


async def test_a_slow_client_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bootstrap.pages.HTTP_TIMEOUT_S", 0.05)
    async with serve_pages(LOOPBACK, PAGES, RealNetwork()) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"GET /metrics HTTP/1.1\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()


async def test_the_end_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaving the block leaves no task, with a client still connected that may take its time."""
    monkeypatch.setattr("bootstrap.pages.HTTP_TIMEOUT_S", 1_000)
    before = asyncio.all_tasks()
    async with serve_pages(LOOPBACK, PAGES, RealNetwork()) as address:
        _, writer = await asyncio.open_connection(*address)
        writer.write(b"GET ")
        await ask(address, b"GET /healthz HTTP/1.1\r\n\r\n")
    assert asyncio.all_tasks() == before
    writer.close()


async def test_an_address_in_use_is_said(address: Endpoint) -> None:
    with pytest.raises(AddressInUse, match="cannot serve metrics") as refused:
        async with serve_pages(address, PAGES, RealNetwork()):
            pass
    assert "--metrics" in refused.value.hint

"""A few pages of text over plain HTTP/1.1, for a collector and a curl. Whoever is slow or asks for more is cut off.

Not a web server: one request per connection, GET and HEAD, no bodies. Bounded in connections, bytes and time.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final, NamedTuple

from dhtchat.errors import AddressInUse
from dhtchat.ids import Endpoint
from dhtchat.limits import HTTP_CLIENTS_MAX, HTTP_HEAD_BYTES_MAX, HTTP_TIMEOUT_S
from dhtchat.runtime import Network

PLAIN: Final = "text/plain; charset=utf-8"
_END_OF_HEAD: Final = b"\r\n\r\n"


class Page(NamedTuple):
    content_type: str
    text: Callable[[], str]


@asynccontextmanager
async def serve_pages(at: Endpoint, pages: Mapping[str, Page], network: Network) -> AsyncIterator[Endpoint]:
    """Answer at `at` within the block, by the path of a request; gives where it is bound. Raises `AddressInUse`."""
    clients: dict[asyncio.Task[None], None] = {}

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(clients) >= HTTP_CLIENTS_MAX:
            # The oldest: an honest one is done in a moment, and those who wait must not keep it out.
            oldest = next(iter(clients))
            oldest.cancel()
            del clients[oldest]
        client = asyncio.get_running_loop().create_task(_converse(reader, writer, pages))
        clients[client] = None
        client.add_done_callback(lambda done: clients.pop(done, None))

    def factory() -> asyncio.Protocol:
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(limit=HTTP_HEAD_BYTES_MAX), accept)

    try:
        server, bound = await network.listen(factory, at)
    except OSError as error:
        hint = "Choose another address or port with --metrics."
        raise AddressInUse(f"cannot serve metrics at {at}: {error.strerror or error}", hint=hint) from error
    try:
        yield bound
    finally:
        server.close()
        left = list(clients)
        for client in left:
            client.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def _converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pages: Mapping[str, Page]) -> None:
    try:
        async with asyncio.timeout(HTTP_TIMEOUT_S):
            try:
                head = await reader.readuntil(_END_OF_HEAD)
            except asyncio.LimitOverrunError:
                answer = _answer(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            else:
                answer = answer_to(head, pages)
            writer.write(answer)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        pass  # a client that went away or is slow: nothing of ours
    finally:
        writer.transport.abort()


def answer_to(head: bytes, pages: Mapping[str, Page]) -> bytes:
    """The whole answer to a request's head, whatever its bytes."""
    words = head.split(b"\r\n", 1)[0].split(b" ")
    if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
        return _answer(HTTPStatus.BAD_REQUEST)
    method, target, _ = words
    if method not in (b"GET", b"HEAD"):
        return _answer(HTTPStatus.METHOD_NOT_ALLOWED, headers="Allow: GET, HEAD\r\n")
    page = pages.get(target.partition(b"?")[0].decode("latin-1"))
    if page is None:
        return _answer(HTTPStatus.NOT_FOUND, f"see {' or '.join(pages)}\n", without_body=method == b"HEAD")
    return _answer(HTTPStatus.OK, page.text(), page.content_type, without_body=method == b"HEAD")


def _answer(
    status: HTTPStatus, text: str = "", content_type: str = PLAIN, *, headers: str = "", without_body: bool = False
) -> bytes:
    body = (text or f"{status.phrase}\n").encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n{headers}Connection: close\r\n\r\n"
    )
    return head.encode() + (b"" if without_body else body)

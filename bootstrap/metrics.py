"""Figures of a node in the Prometheus text format (version 0.0.4), over plain HTTP, for whoever runs the node."""

import asyncio

from dhtchat.dht.node import DhtNode
from dhtchat.errors import AddressInUse
from dhtchat.ids import Endpoint
from dhtchat.runtime import Runtime

_REQUEST_TIMEOUT_S = 5.0
_REQUEST_LINE_BYTES_MAX = 4096


async def open_metrics(at: Endpoint, dht: DhtNode, runtime: Runtime) -> asyncio.Server:
    """A server that answers from now on; leaving its `async with` block closes it. Raises `AddressInUse`."""
    started_s = runtime.clock.monotonic()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_REQUEST_TIMEOUT_S):
                request = await reader.readline()
                found = request.startswith(b"GET /metrics")
                body = metrics_text(dht, runtime.clock.monotonic() - started_s).encode() if found else b"see /metrics\n"
                status = b"200 OK" if found else b"404 Not Found"
                head = b"HTTP/1.1 %s\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: %d\r\n" % (
                    status,
                    len(body),
                )
                writer.write(head + b"Connection: close\r\n\r\n" + body)
                await writer.drain()
        except (OSError, TimeoutError, ValueError):
            pass  # a client that went away, or a line that never ends: nothing of ours
        finally:
            writer.close()

    try:
        return await asyncio.start_server(answer, at.host, at.port, limit=_REQUEST_LINE_BYTES_MAX)
    except OSError as error:
        raise AddressInUse(f"cannot serve metrics at {at}: {error.strerror or error}") from error


def metrics_text(dht: DhtNode, up_s: float) -> str:
    """All figures, one a line."""
    lines = [
        "# TYPE dhtchat_up_seconds gauge",
        f"dhtchat_up_seconds {up_s:.1f}",
        "# TYPE dhtchat_contacts gauge",
        f"dhtchat_contacts {len(dht.contacts())}",
        "# TYPE dhtchat_records gauge",
        f"dhtchat_records {len(dht.storage)}",
        "# TYPE dhtchat_events_total counter",
    ]
    lines += [f'dhtchat_events_total{{event="{name}"}} {count}' for name, count in sorted(dht.statistics.items())]
    return "\n".join(lines) + "\n"

"""All links of this device: who may connect, whom to dial, and never more than one link per pair of devices.

One link per pair. When both sides dial at once two links come up, and each side sees them in its own order, so order
cannot decide: the link whose client has the smaller device key stays. That holds when both were made within LINK_RACE_S.
A later one replaces the older, and so does one that the same side dialled: a side dials only when it has no link, so it
has lost the older one, whatever we still believe of it. Should the two sides ever measure the time between two links
differently and drop one each, both dial again.

Nothing handed to `send` on the losing link is lost as long as both ends live: it is closed with Bye("duplicate") after
all that was queued, and both sides read until the other hangs up. What a crash swallows, those above must send again on
`link_up`, as after any other `link_down`. For one device `link_down` of the old link always returns before `link_up` of
the new one begins.

Strangers cost little: before the proof a connection is counted, the oldest goes first when there are too many, and
nothing of it outlives handshake_timeout_s.
"""

import asyncio
import contextlib
import logging
from collections import Counter, deque
from collections.abc import Sequence
from math import inf
from types import TracebackType
from typing import Protocol, Self

from dhtchat.crypto.certificates import TlsIdentity
from dhtchat.crypto.identity import SigningKey
from dhtchat.errors import AddressInUse, LinkLost, MalformedMessage, ProofRefused, RemoteMisbehaved
from dhtchat.ids import DeviceId, Endpoint, PeerDevice, PeerId, is_ip_address
from dhtchat.limits import ADDRESSES_PER_DEVICE_MAX, NONCE_BYTES
from dhtchat.parameters import NetworkParameters
from dhtchat.peer.link import Link
from dhtchat.peer.link_limits import DEFAULT_LIMITS, LinkLimits
from dhtchat.peer.messages import PeerMessage
from dhtchat.peer.session import ClientSession, ServerSession
from dhtchat.runtime import Runtime

__all__ = ["Link", "LinkHandler", "LinkPool"]

_log = logging.getLogger(__name__)

_NOWHERE = Endpoint("", 0)
"""Where an accepted stream comes from until it is known."""


class LinkHandler(Protocol):
    """What is above. The calls for one link come one after the other; links do not wait for each other.

    A `RemoteMisbehaved` raised by one of them drops the link; a `LinkLost` is taken as said, because `link_down` follows.
    Anything else is a bug and ends the pool.
    """

    async def link_up(self, link: Link) -> None:
        """Both sides are proved; `link` can be used."""

    async def link_down(self, link: Link, reason: str) -> None:
        """Exactly once for each `link_up`, after the last `received`. `reason`: the word of the Bye, theirs or ours
        (`leaving`, `duplicate`, `idle`), or a text."""

    async def received(self, link: Link, message: PeerMessage) -> None:
        """In order. Slow is fine: the other side is made to wait."""


class _Wanted:
    """A device that is dialled until it is there, and again when it is gone."""

    def __init__(self, device: DeviceId, peer: PeerId) -> None:
        self.device = device
        self.peer = peer
        self.said: Sequence[Endpoint] = ()
        """Where it is, as we were told."""
        self.addresses: tuple[Endpoint, ...] = ()
        """Those of them that can be dialled."""
        self.failures = 0
        """In a row; what the backoff grows with."""
        self.news = asyncio.Event()
        """A reason to dial now rather than after the wait."""
        self.task: asyncio.Task[None] | None = None


class LinkPool:
    """Async context manager; its TaskGroup owns every task, and leaving it leaves nothing running and no stream open.

    Leaving ends links without a word, as a crash would; `close_all` says goodbye first. `statistics` counts: `accepted`,
    `dialled`, `opened`, `duplicate`, `full` (refused for lack of room), `half-open-dropped`, `handshake-failed` (nobody
    there, no TLS, too slow or gone again), `refused-proof`, `malformed`, `misbehaved` (said by the handler).
    """

    def __init__(
        self,
        *,
        runtime: Runtime,
        parameters: NetworkParameters,
        device: SigningKey,
        certificate: bytes,
        tls: TlsIdentity,
        handler: LinkHandler,
        limits: LinkLimits = DEFAULT_LIMITS,
    ) -> None:
        """`certificate` is the device's certificate as raw record."""
        self.statistics: Counter[str] = Counter()
        self._runtime = runtime
        self._network_id = parameters.network_id
        self._device = device
        self._certificate = certificate
        self._tls = tls
        self._handler = handler
        self._limits = limits

        self._tasks = asyncio.TaskGroup()
        self._closing = False
        self._servers: list[asyncio.Server] = []
        self._streams: dict[Link, None] = {}
        """Everything with a stream, from connect or accept until it is gone. (A dictionary: a set has no order.)"""
        self._half_open: dict[Link, None] = {}
        """Accepted and not proved, the oldest first."""
        self._links: dict[DeviceId, Link] = {}
        """The one link with each device."""
        self._serving: dict[Link, asyncio.Task[None]] = {}
        self._announced: set[Link] = set()
        """Between `link_up` and `link_down`."""
        self._wanted: dict[PeerDevice, _Wanted] = {}
        """By both: anybody can say that somebody else's device is theirs, and lives elsewhere."""
        self._heard_at_s = -inf
        """By links that are over."""

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._shut_the_door()
        for link in list(self._streams):
            link.abort("leaving")
        try:
            if self._serving:  # what has arrived is still handed out, unless a handler takes too long
                await asyncio.wait(list(self._serving.values()), timeout=self._limits.goodbye_timeout_s)
        finally:
            for task in self._serving.values():
                task.cancel()
            try:
                await self._tasks.__aexit__(kind, error, traceback)
            finally:
                for link in list(self._streams):
                    link.abort("leaving")
                    await link.closed()

    # --- for those above ----------------------------------------------------------------------------------------------

    async def listen(self, local: Endpoint) -> Endpoint:
        """Accept links at this address, and say where it is. Raises `AddressInUse`."""
        try:
            server, bound = await self._runtime.network.listen(self._new_accepted, local)
        except OSError as error:
            raise AddressInUse(f"cannot listen on {local}: {error.strerror or error}") from error
        self._servers.append(server)
        return bound

    def want(self, device: DeviceId, peer: PeerId, addresses: Sequence[Endpoint]) -> None:
        """Keep a link to that device up until `unwant`: dial now, and whenever there is none.

        Said again with other addresses, it dials those at once. Only numeric addresses are dialled: they come from
        strangers. Our own device is never dialled.
        """
        if self._closing or device == self._device.public:
            return
        known = self._wanted.get(PeerDevice(peer, device))
        if known is not None and known.said == addresses:
            return
        usable = tuple(a for a in dict.fromkeys(addresses) if is_ip_address(a.host) and 0 < a.port < 2**16)
        usable = usable[:ADDRESSES_PER_DEVICE_MAX]
        wanted = known
        if wanted is None:
            wanted = self._wanted[PeerDevice(peer, device)] = _Wanted(device, peer)
            wanted.said, wanted.addresses = addresses, usable
            wanted.task = self._tasks.create_task(self._keep_linked(wanted))
        elif usable != wanted.addresses:
            wanted.said, wanted.addresses = addresses, usable
            wanted.failures = 0
            wanted.news.set()

    def unwant(self, device: DeviceId, peer: PeerId | None = None) -> None:
        """No more dialling of that device as `peer`'s, or with None as anybody's. A link that is up stays until either
        side closes it."""
        for who in [who for who in self._wanted if who.device == device and peer in (None, who.peer)]:
            task = self._wanted.pop(who).task
            if task is not None:
                task.cancel()

    def retry_now(self) -> None:
        """The network came back: forget all waits between dials."""
        for wanted in self._wanted.values():
            wanted.failures = 0
            wanted.news.set()

    def close(self, device: DeviceId, reason: str = "leaving") -> None:
        """Say goodbye to one device; `reason` is one word of a-z and `-`. If it is wanted it will be dialled again."""
        link = self._links.get(device)
        if link is not None:
            link.close(reason)

    async def close_all(self, reason: str, timeout_s: float) -> None:
        """Say goodbye to all, and wait until they hang up or the time is over. No link comes up afterwards."""
        self._shut_the_door()
        for link in list(self._half_open):
            link.abort(reason)
        for link in list(self._links.values()):
            link.close(reason)
        serving = list(self._serving.values())
        if serving:
            await asyncio.wait(serving, timeout=timeout_s)
        for link in list(self._streams):
            link.abort(reason)

    def get(self, device: DeviceId) -> Link | None:
        """The link with that device, if there is one to talk over."""
        link = self._links.get(device)
        return link if link is not None and link.alive and link in self._announced else None

    def links(self) -> list[Link]:
        """Every link one can talk over."""
        return [link for link in self._links.values() if link.alive and link in self._announced]

    @property
    def heard_at_s(self) -> float:
        """Monotonic time of the last byte from anybody who has proved who they are; -inf before the first."""
        return max([self._heard_at_s, *(link.heard_at for link in self._links.values())])

    def links_of(self, peer: PeerId) -> list[Link]:
        """The links with the devices of one person."""
        return [link for link in self.links() if link.author.peer == peer]

    def _shut_the_door(self) -> None:
        self._closing = True
        for server in self._servers:
            server.close()
        for who in list(self._wanted):
            self.unwant(who.device)

    # --- which link stays ---------------------------------------------------------------------------------------------

    def _admit(self, link: Link) -> str | None:
        """Take a proved link in, or say in one word why not. Called by the link itself, on both sides of it."""
        if self._closing:
            return "leaving"
        device = link.author.device
        existing = self._links.get(device)
        if existing is not None and existing.standing:
            racing = link.made_at - existing.made_at < self._limits.link_race_s and link.dialled != existing.dialled
            if racing and self._client_key(existing) < self._client_key(link):
                self.statistics["duplicate"] += 1
                return "duplicate"
            if racing:
                self.statistics["duplicate"] += 1
                existing.close("duplicate")
            else:
                existing.abort("replaced by a newer link")
        elif existing is None and not link.dialled and len(self._links) >= self._limits.links_max:
            self.statistics["full"] += 1
            return "full"
        self._links[device] = link
        self._half_open.pop(link, None)
        self.statistics["opened"] += 1
        predecessor = self._serving.get(existing) if existing is not None else None
        self._serving[link] = self._tasks.create_task(self._serve(link, predecessor))
        for wanted in self._wanted.values():
            if wanted.device == device:
                wanted.news.set()
        return None

    def _client_key(self, link: Link) -> bytes:
        """The device key of whoever dialled."""
        return self._device.public if link.dialled else link.author.device

    # --- the life of a link -------------------------------------------------------------------------------------------

    async def _serve(self, link: Link, predecessor: asyncio.Task[None] | None) -> None:
        try:
            if predecessor is not None:
                await asyncio.wait([predecessor])
            if await link.confirmed():
                await self._announce(link)
        finally:
            # Only now: whoever follows on the same device finds its predecessor by this entry.
            self._heard_at_s = max(self._heard_at_s, link.heard_at)
            if self._links.get(link.author.device) is link:
                del self._links[link.author.device]
            self._serving.pop(link, None)

    async def _announce(self, link: Link) -> None:
        self._announced.add(link)
        try:
            await self._hand_out(link)
        finally:
            self._announced.discard(link)
            if link.ended is None:  # a handler was cut short
                link.abort("leaving")
            with contextlib.suppress(LinkLost, RemoteMisbehaved):
                await self._handler.link_down(link, str(link.ended))

    async def _hand_out(self, link: Link) -> None:
        try:
            with contextlib.suppress(LinkLost):
                await self._handler.link_up(link)
            while (message := await link.next_message()) is not None:
                with contextlib.suppress(LinkLost):
                    await self._handler.received(link, message)
        except RemoteMisbehaved as error:
            link.fail(error)
            self._count(error)
        else:
            if link.error is not None:
                self._count(link.error)

    # --- accepting ----------------------------------------------------------------------------------------------------

    def _new_accepted(self) -> Link:
        session = ServerSession(
            network_id=self._network_id,
            key=self._device,
            certificate=self._certificate,
            nonce=self._runtime.random.randbytes(NONCE_BYTES),
            tls_certificate=self._tls.certificate,
            limits=self._limits,
        )
        return self._new_link(session, _NOWHERE)

    def _new_link(self, session: ClientSession | ServerSession, endpoint: Endpoint) -> Link:
        return Link(
            session,
            runtime=self._runtime,
            limits=self._limits,
            endpoint=endpoint,
            admit=self._admit,
            connected=self._on_connected,
            gone=self._on_gone,
        )

    def _on_connected(self, link: Link) -> None:
        self._streams[link] = None
        if self._closing:
            link.abort("leaving")
        elif not link.dialled:
            self.statistics["accepted"] += 1
            self._make_room(link.endpoint.host)
            self._half_open[link] = None
            self._tasks.create_task(self._accept(link))

    def _on_gone(self, link: Link) -> None:
        self._streams.pop(link, None)
        self._half_open.pop(link, None)

    def _make_room(self, host: str) -> None:
        """For one more connection from `host`: drop the oldest that has not proved anything, of that host if it has too
        many. Never the newest, or a few idle connections would lock everybody out."""
        of_host = [link for link in self._half_open if link.endpoint.host == host]
        if len(of_host) >= self._limits.half_open_per_host_max:
            self._drop_half_open(of_host[0])
        elif len(self._half_open) >= self._limits.half_open_max:
            self._drop_half_open(next(iter(self._half_open)))

    def _drop_half_open(self, link: Link) -> None:
        self.statistics["half-open-dropped"] += 1
        del self._half_open[link]
        link.abort("too many connections that prove nothing")

    async def _accept(self, link: Link) -> None:
        try:
            await link.secure(self._tls)
            await link.admission()
        except (OSError, LinkLost, RemoteMisbehaved) as error:
            self._give_up(link, error)

    def _give_up(self, link: Link, error: Exception) -> None:
        """A connection came to nothing. If a goodbye is under way it may finish."""
        _log.debug("%r: %s", link, error)
        if link.admitted:
            return  # it came up, and was gone before its task looked: `_serve` sees to the rest
        if isinstance(error, RemoteMisbehaved):
            self._count(error)
        elif not link.on_its_own:
            self.statistics["handshake-failed"] += 1
        if not link.on_its_own:
            link.abort(str(error))

    def _count(self, error: RemoteMisbehaved) -> None:
        match error:
            case ProofRefused():
                self.statistics["refused-proof"] += 1
            case MalformedMessage():
                self.statistics["malformed"] += 1
            case _:
                self.statistics["misbehaved"] += 1

    # --- dialling -----------------------------------------------------------------------------------------------------

    async def _keep_linked(self, wanted: _Wanted) -> None:
        while True:
            wanted.news.clear()
            link = self._standing(wanted.device)
            if link is None and wanted.addresses:
                await self._dial(wanted)
                link = self._standing(wanted.device)
            if link is not None:
                await link.over()
                wanted.news.clear()
                if self._standing(wanted.device) is not None:
                    continue  # another link took its place
                lasted_s = self._runtime.clock.monotonic() - link.made_at
                if lasted_s >= self._limits.keepalive_timeout_s:
                    wanted.failures = (
                        0  # one that dies young counts as a failed dial, or we would dial in a tight circle
                    )
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._backoff_s(wanted) if wanted.addresses else None):
                    await wanted.news.wait()

    def _backoff_s(self, wanted: _Wanted) -> float:
        """Exponential with full jitter: uniform between nothing and the ceiling, so that those who lost the same peer at
        the same moment do not come back at the same moment."""
        ceiling_s = min(self._limits.backoff_max_s, self._limits.backoff_first_s * 2 ** min(wanted.failures, 32))
        wanted.failures += 1
        return self._runtime.random.uniform(0, ceiling_s)

    def _standing(self, device: DeviceId) -> Link | None:
        """The link with that device unless it is on its way out; announced or about to be."""
        link = self._links.get(device)
        return link if link is not None and link.standing else None

    async def _dial(self, wanted: _Wanted) -> None:
        """Try the addresses, each a little after the one before or at once when that failed (RFC 8305 §5), until there
        is a link with the device."""
        to_try = deque(wanted.addresses)
        attempts: set[asyncio.Task[None]] = set()
        gate = asyncio.Lock()
        try:
            while (to_try or attempts) and self._standing(wanted.device) is None:
                if to_try:
                    attempts.add(self._tasks.create_task(self._attempt(to_try.popleft(), wanted, gate)))
                stagger_s = self._limits.dial_stagger_s if to_try else None
                _, attempts = await asyncio.wait(attempts, timeout=stagger_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for attempt in attempts:
                attempt.cancel()
            if attempts:
                await asyncio.wait(attempts)

    async def _attempt(self, remote: Endpoint, wanted: _Wanted, gate: asyncio.Lock) -> None:
        """One address. The server proves itself first; `gate` lets one connection at a time answer with our proof, or
        two addresses of one device would give two links, of which the server takes the later and we the earlier."""
        session = ClientSession(
            network_id=self._network_id,
            key=self._device,
            certificate=self._certificate,
            nonce=self._runtime.random.randbytes(NONCE_BYTES),
            expected_device=wanted.device,
            expected_peer=wanted.peer,
            limits=self._limits,
        )
        link = self._new_link(session, remote)
        self.statistics["dialled"] += 1
        try:
            async with asyncio.timeout(self._limits.dial_timeout_s):
                await self._runtime.network.connect(lambda: link, remote)
            await link.secure(self._tls)
            await link.server_proved()
            async with gate:
                if self._standing(wanted.device) is None:
                    link.prove()
                    await link.admission()
        except (OSError, LinkLost, RemoteMisbehaved) as error:
            self._give_up(link, error)
        finally:
            # Once our proof is out the server may hold this link for the one that stays: then it is not ours to drop.
            if not link.on_its_own:
                link.abort("not needed any more")

"""c-toxcore through its C library, as it comes: each end calls `tox_iterate` as often as `tox_iteration_interval` asks for. It
keeps nothing on disk and signs nothing: it encrypts.

Its own acknowledgement is the read receipt. Those come only once a second, so an answer that the other program gives by
itself is measured as well."""

import asyncio
import ctypes
from collections import deque
from collections.abc import Callable
from ctypes import CFUNCTYPE, byref, c_bool, c_char_p, c_int, c_size_t, c_uint16, c_uint32, c_void_p

from tests.benchmarks.talking.ends import START_BOUND_S, FarEnd, NotInstalled, Talk, be_far, number_of, text_of

_KEY_BYTES = 32
_PORTS = (34_000, 36_000)
"""It takes the first free one; it knows no port 0."""
_POLL_S = 0.02
_ON_CONNECTION = CFUNCTYPE(None, c_void_p, c_uint32, c_int, c_void_p)
_ON_MESSAGE = CFUNCTYPE(None, c_void_p, c_uint32, c_int, c_void_p, c_size_t, c_void_p)
_ON_RECEIPT = CFUNCTYPE(None, c_void_p, c_uint32, c_uint32, c_void_p)


class ToxTalk(Talk):
    """Acknowledged by a read receipt."""

    slower = 15
    answers = ""

    async def start(self) -> None:
        self._tox = Tox()
        self.far = await FarEnd.start("toxcore", answers=self.answers, **self._tox.hello)
        self._tox.befriend(self.far.hello)
        async with asyncio.timeout(START_BOUND_S):
            while not self._tox.online:  # noqa: ASYNC110 - only at the start
                await asyncio.sleep(_POLL_S)

    async def say(self, number: int) -> bool:
        while (receipt := self._tox.send(text_of(number).encode())) is None:
            await self._tox.turn.wait()  # its queue is full
        return await receipt


class EchoTalk(ToxTalk):
    """Acknowledged by an answer of the other program."""

    slower = 3
    answers = "yes"

    async def start(self) -> None:
        await super().start()
        self._tox.heard = self._answered
        self._waiting: dict[int, asyncio.Future[bool]] = {}

    async def say(self, number: int) -> bool:
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        while self._tox.send(text_of(number).encode()) is None:
            await self._tox.turn.wait()
        return await answer

    def _answered(self, text: bytes) -> None:
        self._waiting.pop(number_of(text.decode())).set_result(True)


class Tox:
    """One instance, friends with one other, on a task of its own."""

    def __init__(self) -> None:
        try:
            lib = self._lib = ctypes.CDLL("libtoxcore.so.2")
        except OSError as error:
            raise NotInstalled(f"toxcore is left out ({error}); Debian has it as libtoxcore2") from None
        lib.tox_options_new.restype = lib.tox_new.restype = c_void_p
        lib.tox_friend_send_message.restype = lib.tox_iteration_interval.restype = c_uint32
        lib.tox_self_get_udp_port.restype = c_uint16
        options = c_void_p(lib.tox_options_new(None))
        lib.tox_options_set_ipv6_enabled(options, c_bool(False))
        lib.tox_options_set_local_discovery_enabled(options, c_bool(False))  # nothing leaves this machine
        lib.tox_options_set_start_port(options, c_uint16(_PORTS[0]))
        lib.tox_options_set_end_port(options, c_uint16(_PORTS[1]))
        failure = c_int()
        self._tox = c_void_p(lib.tox_new(options, byref(failure)))
        if not self._tox.value:
            raise NotInstalled(f"toxcore is left out (tox_new says {failure.value})")
        self.online = False
        self.turn = asyncio.Event()
        """Set and cleared after each iteration."""
        self._receipts: dict[int, asyncio.Future[bool]] = {}
        self._on_connection = _ON_CONNECTION(self._connection)
        self._on_receipt = _ON_RECEIPT(self._receipt)
        lib.tox_callback_friend_connection_status(self._tox, self._on_connection)
        lib.tox_callback_friend_read_receipt(self._tox, self._on_receipt)
        self._on_message = _ON_MESSAGE(self._message)
        lib.tox_callback_friend_message(self._tox, self._on_message)
        self.heard: Callable[[bytes], None] = lambda text: None
        """Told what comes in."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    def _key(self, function: str) -> str:
        key = ctypes.create_string_buffer(_KEY_BYTES)
        self._lib[function](self._tox, key)
        return key.raw.hex()

    @property
    def hello(self) -> dict[str, str]:
        """What the other one must know."""
        port = str(self._lib.tox_self_get_udp_port(self._tox, None))
        return {"dht": self._key("tox_self_get_dht_id"), "key": self._key("tox_self_get_public_key"), "port": port}

    def befriend(self, other: dict[str, str]) -> None:
        key, dht, port = bytes.fromhex(other["key"]), bytes.fromhex(other["dht"]), int(other["port"])
        self._lib.tox_friend_add_norequest(self._tox, c_char_p(key), None)
        self._lib.tox_bootstrap(self._tox, c_char_p(b"127.0.0.1"), c_uint16(port), c_char_p(dht), None)

    def send(self, text: bytes) -> asyncio.Future[bool] | None:
        """Done with the receipt. None: not now."""
        failure = c_int()
        number = self._lib.tox_friend_send_message(
            self._tox, c_uint32(0), c_int(0), c_char_p(text), c_size_t(len(text)), byref(failure)
        )
        if failure.value:
            return None
        receipt = self._receipts[number] = asyncio.get_running_loop().create_future()
        return receipt

    async def _run(self) -> None:
        while True:
            self._lib.tox_iterate(self._tox, None)
            self.turn.set()
            self.turn.clear()
            await asyncio.sleep(self._lib.tox_iteration_interval(self._tox) / 1_000)

    def _connection(self, tox: int, friend: int, status: int, data: int) -> None:
        self.online = status != 0

    def _message(self, tox: int, friend: int, kind: int, text: int, size: int, data: int) -> None:
        self.heard(ctypes.string_at(text, size))

    def _receipt(self, tox: int, friend: int, number: int, data: int) -> None:
        receipt = self._receipts.pop(number, None)
        if receipt is not None and not receipt.done():
            receipt.set_result(True)


async def far(told: dict[str, str]) -> None:
    tox = Tox()
    tox.befriend(told)
    unsent: deque[bytes] = deque()
    if told["answers"]:  # with an answer the receipt comes along, too
        tox.heard = lambda text: unsent.append(text[:8])

    async def answer() -> None:
        while True:
            await tox.turn.wait()
            while unsent and tox.send(unsent[0]) is not None:
                unsent.popleft()

    answering = asyncio.create_task(answer())
    await be_far(tox.hello)
    answering.cancel()

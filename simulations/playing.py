"""Plays a plan in a world: everybody comes in peace, then the plan's steps, then all faults stop and all must agree again."""

import asyncio
import math
import traceback
from collections.abc import Coroutine
from contextlib import AbstractContextManager
from typing import Any

from dhtchat.app.inspection import Inspection
from dhtchat.chat import intents
from dhtchat.ids import PeerId
from dhtchat.limits import BACKOFF_MAX_S, PRESENCE_TTL_S

from . import plans
from .hostile import Conspiracy, Intruder, Replayer
from .watching import RunWatch
from .world import Person, World

CONVERGE_S = 2 * (PRESENCE_TTL_S + BACKOFF_MAX_S)
"""How long all may take to agree again: twice what a stale address and the longest pause between two dials cost together."""
QUIET_S = 10.0
"""After that, for what comes too much or goes away again."""
RETURN_TRIES = 5
"""Starts of a process, and attempts to enter a room, once nothing is wrong any more."""
RETURN_PAUSE_S = 5.0
ROOM_MENDING_S = 15.0
"""Between two looks at who sits in the wrong room."""
ARRIVALS_S = 0.3
"""Between two people who come online at the beginning."""


class Playing:
    """One performance. What fails in it is reported, never raised: a run that breaks is a finding."""

    def __init__(self, world: World, plan: plans.Plan) -> None:
        self.world = world
        self.plan = plan
        self._going: set[str] = set()
        """Who is on the way down or up."""

    async def play(self) -> None:
        try:
            await self._play()
        except* Exception as group:  # noqa: BLE001 - whatever it is, the seed must be printed beside it
            for error in _leaves(group):
                where = traceback.extract_tb(error.__traceback__)[-1]
                self._report("no-task-left", f"{type(error).__name__}: {error} ({where.name}, line {where.lineno})")

    async def _play(self) -> None:
        await self._come_in()
        watch = RunWatch(self.world)
        async with asyncio.TaskGroup() as group:
            for name in self.plan.people:
                group.create_task(self._type(name))
            for step in self.plan.steps:
                if not isinstance(step, _TYPED):
                    group.create_task(self._happen(step))
        await self._bring_back()
        mending = self.world.spawn(self._mend_rooms(), "mend-rooms")
        if not await self.world.until(self._converged, within_s=CONVERGE_S, step_s=5.0):
            what = f"not within {CONVERGE_S:.0f} s after all faults had stopped: {self._differences()}"
            self._report("convergence", what)
        mending.cancel()
        await asyncio.sleep(QUIET_S)
        watch.finish()

    def _report(self, name: str, what: str) -> None:
        self.world.recorder.violations.append(f"{name}: {what}")

    # --- in peace -----------------------------------------------------------------------------------------------------

    async def _come_in(self) -> None:
        await self.world.start_bootstrap()
        people = [self.world.add_person(name, account=self.plan.devices.get(name)) for name in self.plan.people]

        async def come(number: int, person: Person) -> None:
            await asyncio.sleep(ARRIVALS_S * number)
            await person.start()

        async def fill(room: str, members: tuple[str, ...]) -> None:
            for name in members:
                await self.world.people[name].join(room)

        async with asyncio.TaskGroup() as group:
            for number, person in enumerate(people):
                group.create_task(come(number, person))
        async with asyncio.TaskGroup() as group:
            for room, members in self.plan.rooms.items():
                group.create_task(fill(room, members))
        for person in people:
            if not _is_settled(person):
                self._report("set-up", f"{person.name} did not come in: {person.errors}")
        self._begin_s = self.world.loop.time()

    async def _reach(self, at_s: float) -> None:
        await asyncio.sleep(max(0.0, self._begin_s + at_s - self.world.loop.time()))

    # --- what people do, one thing after the other --------------------------------------------------------------------

    async def _type(self, name: str) -> None:
        person = self.world.people[name]
        for step in self.plan.steps:
            if isinstance(step, _TYPED) and step.who == name:
                await self._reach(step.at_s)
                await self._do(person, step)

    async def _do(self, person: Person, step: plans.AnyStep) -> None:
        match step:
            case plans.Say(target=target, text=text):
                if not target.startswith("#"):
                    both = {person.account, target}
                    devices = [name for name, other in self.world.people.items() if other.account in both]
                    await person.say(target, text, devices)
                elif target in person.rooms:
                    await person.say(target, text, self._stay_in(target))
            case plans.Join(room=room):
                await person.join(room)
            case plans.Part(room=room):
                if room in person.rooms:
                    await person.part(room)
            case plans.Topic(room=room, text=text):
                if room in person.rooms:
                    await person.perform(intents.ChangeTopic(text, room))
            case plans.Rule(room=room, act=act, whom=whom):
                if room in person.rooms:
                    await person.perform(_ruling(act, whom, room))
            case plans.Away(text=note):
                await person.perform(intents.SetAway(note))
            case plans.Quit(down_s=down_s, elsewhere=elsewhere):
                if person.name not in self._going:
                    await person.leave()
                    await self._return(person, down_s, elsewhere=elsewhere)

    def _stay_in(self, room: str) -> list[str]:
        """Who is in a room now and will not go out of it."""
        going = {step.who for step in self.plan.steps if isinstance(step, plans.Part) and step.room == room}
        return [name for name, person in self.world.people.items() if room in person.rooms and name not in going]

    async def _return(self, person: Person, down_s: float, *, elsewhere: bool) -> None:
        if person.name in self._going:
            return
        self._going.add(person.name)
        try:
            await asyncio.sleep(min(down_s, max(0.0, self._begin_s + self.plan.lasts_s - self.world.loop.time())))
            if not person.running:
                if elsewhere:
                    self.world.dark.hosts.discard(person.host.address)
                    person.host.move()
                await person.restart()
        finally:
            self._going.discard(person.name)

    # --- what goes wrong ----------------------------------------------------------------------------------------------

    async def _happen(self, step: plans.AnyStep) -> None:
        await self._reach(step.at_s)
        faults = self.world.faults
        match step:
            case plans.Crash(who=who, power=power, rounds=rounds, down_s=down_s, elsewhere=elsewhere):
                for _ in range(rounds):
                    await asyncio.sleep(0)
                person = self.world.people[who]
                if person.running:
                    await person.crash(power=power)
                    await self._return(person, down_s, elsewhere=elsewhere)
            case plans.CrashAtCommit(who=who, done=done, skip=skip, power=power, down_s=down_s, elsewhere=elsewhere):
                person = self.world.people[who]
                await self._until_end(person.crash_at_commit(done=done, skip=skip, power=power))
                if not person.running:
                    await self._return(person, down_s, elsewhere=elsewhere)
            case plans.ClockJump(who=who, skew_s=skew_s):
                self.world.people[who].host.clock.skew_s = skew_s
            case plans.ClockFarOff(who=who, skew_s=skew_s, for_s=for_s):
                clock = self.world.people[who].host.clock
                clock.go_far_off(skew_s)
                await self._last(for_s)
                clock.far_off_s = 0.0
            case plans.DiskFull(who=who, for_s=for_s):
                host = self.world.people[who].host
                host.disk_full = True
                await self._last(for_s)
                host.disk_full = False
            case plans.Loss(share=share, for_s=for_s):
                await self._with(faults.loss(share), for_s)
            case plans.Duplication(share=share, for_s=for_s):
                await self._with(faults.duplication(share), for_s)
            case plans.Reordering(share=share, delay_s=delay_s, for_s=for_s):
                await self._with(faults.reordering(share, delay_s), for_s)
            case plans.SlowPaths(share=share, mean_s=mean_s, for_s=for_s):
                await self._with(faults.slow_paths(share, mean_s), for_s)
            case plans.Split(left=left, one_way=one_way, for_s=for_s):
                others = {*self.plan.people, plans.BOOTSTRAP} - set(left)
                await self._with(
                    faults.partition(self._addresses(left), self._addresses(others), one_way=one_way), for_s
                )
            case plans.SwizzleClog(stopping=stopping, returning=returning, step_s=step_s):
                await self._until_end(
                    faults.swizzle_clog(
                        [self._address(name) for name in stopping],
                        [self._address(name) for name in returning],
                        step_s=step_s,
                    )
                )
            case plans.Liars(count=count, for_s=for_s):
                conspiracy = Conspiracy(self.world)
                await conspiracy.add(count)
                await self._last(for_s)
                conspiracy.silence()
            case plans.Replayer(every_s=every_s):
                await self._until_end(Replayer(self.world).run(every_s=every_s))
            case plans.Intrusion(who=who, room=room, for_s=for_s, every_s=every_s):
                others = {
                    self.plan.account(other.who) for other in self.plan.steps if isinstance(other, plans.Intrusion)
                }
                intruder = Intruder(self.world, self.world.people[who], room, others=others)
                await self._until_end(intruder.run(every_s=every_s), for_s)

    def _address(self, name: str) -> str:
        if name == plans.BOOTSTRAP:
            return self.world.nodes[name].address.host
        return self.world.people[name].host.address

    def _addresses(self, names: tuple[str, ...] | set[str]) -> frozenset[str]:
        return frozenset(map(self._address, names))

    async def _last(self, for_s: float) -> None:
        """So long, but not beyond the end of all faults."""
        left_s = self._begin_s + self.plan.lasts_s - self.world.loop.time()
        await asyncio.sleep(max(0.0, min(for_s, left_s)))

    async def _with(self, fault: AbstractContextManager[Any], for_s: float) -> None:
        with fault:
            await self._last(for_s)

    async def _until_end(self, body: Coroutine[Any, Any, None], for_s: float = math.inf) -> None:
        """Cut short when all faults stop."""
        left_s = self._begin_s + self.plan.lasts_s - self.world.loop.time()
        try:
            async with asyncio.timeout(max(0.0, min(for_s, left_s))):
                await body
        except TimeoutError:
            pass

    # --- in peace again -----------------------------------------------------------------------------------------------

    async def _bring_back(self) -> None:
        async with asyncio.TaskGroup() as group:
            for person in self.world.people.values():
                group.create_task(self._bring_one_back(person))

    async def _bring_one_back(self, person: Person) -> None:
        for _ in range(RETURN_TRIES):
            if not person.running:
                await person.restart()
            if person.node is not None and person.node.is_online:
                for room in set(person.rooms) - person.node.inspection.room_conversations().keys():
                    await person.join(room)
            if _is_settled(person):
                return
            await asyncio.sleep(RETURN_PAUSE_S)
        self._report("convergence", f"{person.name} cannot come back: {person.errors[-1:] or 'not in all rooms'}")

    async def _mend_rooms(self) -> None:
        """Until cancelled: do what people would who find themselves alone in a room, leave it and enter again.

        Who enters a room while nobody else answers makes another one of the same name, and the product does not bring the
        two together afterwards. Counted as `rooms_entered_twice`, so that it is not forgotten, and mended, so that it does
        not hide everything else.
        """
        while True:
            await asyncio.sleep(ROOM_MENDING_S)
            for room in self.plan.rooms:
                for person in self._astray(room):
                    figures = self.world.recorder.figures
                    figures["rooms_entered_twice"] = figures.get("rooms_entered_twice", 0) + 1
                    await person.part(room)
                    await person.join(room)

    def _astray(self, room: str) -> list[Person]:
        """Those who are in another room of this name than most."""
        where: dict[bytes, list[Person]] = {}
        for person in self.world.people.values():
            if person.node is not None and person.node.is_online:
                conversation = person.node.inspection.room_conversations().get(room)
                if conversation is not None:
                    where.setdefault(conversation, []).append(person)
        order = sorted(where, key=lambda conversation: (len(where[conversation]), conversation))
        return [person for conversation in order[:-1] for person in where[conversation]]

    def _converged(self) -> bool:
        return not self._differences()

    def _differences(self) -> list[str]:
        """Who lacks a line that somebody else in the same talk has, who still follows up on one, and who is wrong about who
        is in a room."""
        inside = {name: p.node.inspection for name, p in self.world.people.items() if p.node and p.node.is_online}
        devices: dict[PeerId, list[str]] = {}
        for name, inspection in inside.items():
            devices.setdefault(inspection.peer, []).append(name)
        held = {name: _lines(inspection) for name, inspection in inside.items()}
        for inspection in inside.values():
            for conversation, peer in inspection.private_conversations().items():
                for name in [*devices.get(peer, ()), *devices[inspection.peer]]:
                    held[name].setdefault(
                        conversation, set()
                    )  # who has not heard of a private talk yet lacks all of it
        found = []
        for conversation in sorted({talk for talks in held.values() for talk in talks}):
            parties = {name: talks[conversation] for name, talks in held.items() if conversation in talks}
            everything: set[bytes] = set().union(*parties.values())
            found += [
                f"{name} lacks {len(everything) - len(lines)} of {len(everything)} lines of {conversation.hex()[:8]}"
                for name, lines in parties.items()
                if lines != everything
            ]
        for name, inspection in inside.items():
            if owed := sum(map(len, inspection.owed_privately().values())):
                found.append(f"{name} still follows up on {owed} private lines")
            for room, members in inspection.members().items():
                really = {other.peer for other in inside.values() if room in other.room_conversations()}
                if members != really:
                    found.append(f"{name} sees {len(members)} in {room}, where {len(really)} are")
        for room in self.plan.rooms:
            seen = {name: inspection.roles()[room] for name, inspection in inside.items() if room in inspection.roles()}
            if len({(tuple(heads), tuple(roles.items())) for heads, roles in seen.values()}) > 1:
                found.append(f"in {room} not all see the same roles: {seen}")
        return found


_TYPED = (plans.Say, plans.Join, plans.Part, plans.Topic, plans.Rule, plans.Away, plans.Quit)


def _ruling(act: str, whom: str, room: str) -> intents.Intent:
    if act in ("+m", "-m"):
        return intents.ChangeMode(act == "+m", room)
    if act in ("op", "voice", "owner"):
        return intents.Grant(whom, act, room)  # type: ignore[arg-type]
    return intents.Remove(whom, act, "", room)  # type: ignore[arg-type]


def _lines(inspection: Inspection) -> dict[bytes, set[bytes]]:
    """Per talk that concerns a person now, what lies on their disk."""
    lines: dict[bytes, set[bytes]] = {talk: set() for talk in inspection.conversations()}
    for row in inspection.statements():
        if row.conversation in lines:
            lines[row.conversation].add(row.id)
    return lines


def _is_settled(person: Person) -> bool:
    """Online and in all their rooms."""
    node = person.node
    return node is not None and node.is_online and set(person.rooms) <= node.inspection.room_conversations().keys()


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found

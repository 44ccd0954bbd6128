"""A run of the bug search as data: who is there, what they do when, and what goes wrong meanwhile.

Drawn from a seed, played by `playing.py`, made smaller by `shrinking.py`, told in words here. Nothing here touches a world.
"""

import random
from collections.abc import Callable
from typing import Final, Literal

import msgspec

from dhtchat.limits import CLOCK_SKEW_S

BOOTSTRAP: Final = "bootstrap-0"
"""The name of the one node that everybody enters through; a host like others, so it can be cut off, too."""

# --- what can happen --------------------------------------------------------------------------------------------------


class Step(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Something that happens `at_s` seconds after everybody is in their rooms."""

    at_s: float

    def people(self) -> tuple[str, ...]:
        """Without all of whom it would not make sense."""
        return ()

    def words(self) -> str:
        raise NotImplementedError


class Say(Step, frozen=True, kw_only=True):
    who: str
    target: str
    text: str

    def people(self) -> tuple[str, ...]:
        return (self.who,) if self.target.startswith("#") else (self.who, self.target)

    def words(self) -> str:
        return f"{self.who} says {self.text!r} to {self.target}"


class _Personal(Step, frozen=True, kw_only=True):
    who: str

    def people(self) -> tuple[str, ...]:
        return (self.who,)


class Join(_Personal, frozen=True, kw_only=True):
    room: str

    def words(self) -> str:
        return f"{self.who} joins {self.room}"


class Part(_Personal, frozen=True, kw_only=True):
    room: str

    def words(self) -> str:
        return f"{self.who} leaves {self.room}"


class Topic(_Personal, frozen=True, kw_only=True):
    room: str
    text: str

    def words(self) -> str:
        return f"{self.who} sets the topic of {self.room} to {self.text!r}"


class Rule(_Personal, frozen=True, kw_only=True):
    """Whether or not they have the right to. `whom`: another, but for the modes."""

    room: str
    act: Literal["op", "deop", "voice", "devoice", "kick", "owner", "+m", "-m"]
    whom: str

    def people(self) -> tuple[str, ...]:
        return (self.who, self.whom)

    def words(self) -> str:
        return f"{self.who} in {self.room}: /{self.act} {self.whom}"


class Away(_Personal, frozen=True, kw_only=True):
    text: str | None

    def words(self) -> str:
        return f"{self.who} is {'back' if self.text is None else 'away'}"


class Quit(_Personal, frozen=True, kw_only=True):
    """In good order, and back after a while, perhaps elsewhere."""

    down_s: float
    elsewhere: bool

    def words(self) -> str:
        return f"{self.who} quits and is back after {self.down_s:.1f} s{' at another address' * self.elsewhere}"


class Crash(_Personal, frozen=True, kw_only=True):
    """`rounds`: of the event loop to wait at that moment, which comes between a callback and what it has scheduled."""

    power: bool
    rounds: int
    down_s: float
    elsewhere: bool

    def words(self) -> str:
        how = "loses power" if self.power else "is killed"
        where = " at another address" * self.elsewhere
        return f"{self.who} {how} ({self.rounds} rounds of the loop later) and is back after {self.down_s:.1f} s{where}"


class CrashAtCommit(_Personal, frozen=True, kw_only=True):
    """Exactly between what was heard or typed and the disk, or, `done`, between the disk and what is said about it."""

    done: bool
    skip: int
    power: bool
    down_s: float
    elsewhere: bool

    def words(self) -> str:
        how = "loses power" if self.power else "is killed"
        when = f"right {'after' if self.done else 'before'} the commit {self.skip} commits later"
        where = " at another address" * self.elsewhere
        return f"{self.who} {how} {when} and is back after {self.down_s:.1f} s{where}"


class ClockJump(_Personal, frozen=True, kw_only=True):
    skew_s: float

    def words(self) -> str:
        return f"{self.who}'s clock is {self.skew_s:+.0f} s wrong from now on"


class _Lasting(Step, frozen=True, kw_only=True):
    for_s: float


class ClockFarOff(_Lasting, frozen=True, kw_only=True):
    """By more than others bear. Then nobody is promised to find them, nor they anybody; all else holds, and once the clock is
    right again, that as well."""

    who: str
    skew_s: float

    def people(self) -> tuple[str, ...]:
        return (self.who,)

    def words(self) -> str:
        return f"{self.who}'s clock is {self.skew_s:+.0f} s wrong for {self.for_s:.1f} s"


class DiskFull(_Lasting, frozen=True, kw_only=True):
    who: str

    def people(self) -> tuple[str, ...]:
        return (self.who,)

    def words(self) -> str:
        return f"{self.who}'s disk is full for {self.for_s:.1f} s"


class Loss(_Lasting, frozen=True, kw_only=True):
    share: float

    def words(self) -> str:
        return f"{self.share:.0%} of all packets are lost for {self.for_s:.1f} s"


class Duplication(_Lasting, frozen=True, kw_only=True):
    share: float

    def words(self) -> str:
        return f"{self.share:.0%} of all datagrams come twice for {self.for_s:.1f} s"


class Reordering(_Lasting, frozen=True, kw_only=True):
    share: float
    delay_s: float

    def words(self) -> str:
        return f"{self.share:.0%} of all packets are held back up to {self.delay_s:.1f} s for {self.for_s:.1f} s"


class SlowPaths(_Lasting, frozen=True, kw_only=True):
    share: float
    mean_s: float

    def words(self) -> str:
        return f"{self.share:.0%} of all packets take {self.mean_s:.1f} s more on average for {self.for_s:.1f} s"


class Split(_Lasting, frozen=True, kw_only=True):
    """Between these hosts and all others."""

    left: tuple[str, ...]
    one_way: bool

    def words(self) -> str:
        what = "nothing goes from" if self.one_way else "nothing passes between"
        return f"{what} {', '.join(self.left)} {'to' if self.one_way else 'and'} everybody else for {self.for_s:.1f} s"


class SwizzleClog(Step, frozen=True, kw_only=True):
    stopping: tuple[str, ...]
    returning: tuple[str, ...]
    step_s: float

    def words(self) -> str:
        return (
            f"cut off one by one every {self.step_s:.1f} s: {', '.join(self.stopping)}; "
            f"let back in the order {', '.join(self.returning)}"
        )


class Liars(_Lasting, frozen=True, kw_only=True):
    count: int

    def words(self) -> str:
        return f"{self.count} lying DHT nodes take part for {self.for_s:.1f} s"


class Replayer(_Lasting, frozen=True, kw_only=True):
    every_s: float

    def words(self) -> str:
        return f"somebody stores old records again, one every {self.every_s:.2f} s, for {self.for_s:.1f} s"


class Intrusion(_Lasting, frozen=True, kw_only=True):
    who: str
    room: str
    every_s: float

    def people(self) -> tuple[str, ...]:
        return (self.who,)

    def words(self) -> str:
        return f"{self.who}, never in {self.room}, talks into it and asks for its lines for {self.for_s:.1f} s"


AnyStep = (
    Say
    | Join
    | Part
    | Topic
    | Rule
    | Away
    | Quit
    | Crash
    | CrashAtCommit
    | ClockJump
    | ClockFarOff
    | DiskFull
    | Loss
    | Duplication
    | Reordering
    | SlowPaths
    | Split
    | SwizzleClog
    | Liars
    | Replayer
    | Intrusion
)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """`devices`: those in `people` who are further devices of another, and whose. `rooms`: who is in which from the start.
    `lasts_s`: until all faults stop."""

    seed: int
    people: tuple[str, ...]
    devices: dict[str, str]
    rooms: dict[str, tuple[str, ...]]
    latency_s: tuple[float, float]
    lasts_s: float
    steps: tuple[AnyStep, ...]

    def account(self, name: str) -> str:
        """Whose device it is: what others call them, and what lines are said to."""
        return self.devices.get(name, name)

    def without_people(self, gone: frozenset[str]) -> "Plan":
        """What is left when they never were there, with none of their devices."""
        gone |= {name for name in self.people if self.account(name) in gone}

        def left(names: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(name for name in names if name not in gone)

        steps: list[AnyStep] = []
        for step in self.steps:
            match step:
                case Split(left=names):
                    kept: AnyStep | None = msgspec.structs.replace(step, left=left(names)) if left(names) else None
                case SwizzleClog(stopping=stopping, returning=returning):
                    names = left(stopping)
                    kept = msgspec.structs.replace(step, stopping=names, returning=left(returning)) if names else None
                case _:
                    kept = None if gone.intersection(step.people()) else step
            if kept is not None:
                steps.append(kept)
        rooms = {room: left(members) for room, members in self.rooms.items() if left(members)}
        devices = {name: owner for name, owner in self.devices.items() if name not in gone}
        return msgspec.structs.replace(self, people=left(self.people), devices=devices, rooms=rooms, steps=tuple(steps))


def in_words(plan: Plan) -> list[str]:
    """One line each."""
    low_s, high_s = plan.latency_s

    def whose(name: str) -> str:
        return f"{name} (another device of {plan.devices[name]})" if name in plan.devices else name

    lines = [
        f"{', '.join(map(whose, plan.people))}; one way takes {1000 * low_s:.0f} to {1000 * high_s:.0f} ms",
        *(f"{room}: {', '.join(members)}" for room, members in plan.rooms.items()),
    ]
    lines += [f"{step.at_s:6.2f} s: {step.words()}" for step in plan.steps]
    return [*lines, f"{plan.lasts_s:6.2f} s: all faults stop, everybody is brought back"]


# --- drawing ----------------------------------------------------------------------------------------------------------

# Small and short is cheap, and most bugs need two or three people; a large one now and then finds the others.
_SIZES: Final = (3, 3, 3, 4, 4, 4, 5, 5, 6, 8, 12)
_SECOND_DEVICES: Final = (0, 0, 0, 1, 1, 2)
"""How many people are online on two devices."""
_LASTS_S: Final = (15.0, 25.0, 40.0, 60.0)
_LATENCIES_S: Final = ((0.001, 0.002), (0.005, 0.025), (0.005, 0.025), (0.02, 0.2), (0.1, 0.4))
_ROOMS: Final = (0, 1, 1, 2, 3)
_LINES: Final = (5, 10, 20, 40)
"""About how many are said."""
_RULED_SHARE: Final = 0.3
_ACTS: Final = ("op", "deop", "deop", "voice", "devoice", "kick", "owner", "+m", "-m")  # fmt: skip
_KINDS_AT_ONCE: Final = 4
"""At most so many kinds of fault in one run: each run leaves most out, so that one does not hide what another shows."""
_SKEW_S: Final = 250.0
"""Two clocks differ by less than the CLOCK_SKEW_S that the protocol bears."""
_FAR_OFF_S: Final = (1_200.0, 3_600.0)
"""By more than that, whatever else is wrong with this clock and the others: up to an hour, as after summer time."""
assert _FAR_OFF_S[0] > 2 * _SKEW_S + CLOCK_SKEW_S


def draw(seed: int) -> Plan:
    """The plan of a seed."""
    return _Drawing(seed).plan()


class _Drawing:
    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = rng = random.Random(f"{seed}/plan")
        people = [f"p{number:02}" for number in range(rng.choice(_SIZES))]
        # Last, because the person has to have the account first.
        self.devices = {f"{owner}b": owner for owner in rng.sample(people, rng.choice(_SECOND_DEVICES))}
        self.people = (*people, *self.devices)
        self.rooms = {
            f"#room{number}": tuple(sorted(rng.sample(self.people, rng.randint(2, len(self.people)))))
            for number in range(rng.choice(_ROOMS))
        }
        self.lasts_s = rng.choice(_LASTS_S)
        self.says: list[Say] = []

    def plan(self) -> Plan:
        rng = self.rng
        latency_s = rng.choice(_LATENCIES_S)
        self.says = self._talk()
        steps: list[AnyStep] = list(self.says)
        for draw_kind in rng.sample(_KINDS, rng.randint(1, _KINDS_AT_ONCE)):
            for _ in range(rng.randint(1, 3)):
                steps += draw_kind(self)
        steps += self._rulings()
        steps.sort(key=lambda step: step.at_s)
        # Who intrudes must never have been a member: those who were may be told lines that were said before they left.
        entering = {(self.account(step.who), step.room) for step in steps if isinstance(step, Join)}
        steps = [s for s in steps if not isinstance(s, Intrusion) or (self.account(s.who), s.room) not in entering]
        return Plan(
            seed=self.seed,
            people=self.people,
            devices=self.devices,
            rooms=self.rooms,
            latency_s=latency_s,
            lasts_s=self.lasts_s,
            steps=tuple(steps),
        )

    def _talk(self) -> list[Say]:
        rng = self.rng
        private_share = rng.choice((0.1, 0.5, 0.9))
        says = []
        for number in range(rng.choice(_LINES)):
            who = rng.choice(self.people)
            other = rng.choice([name for name in self.people if name not in (self.account(who), *self.devices)])
            rooms = [room for room, members in self.rooms.items() if who in members]
            target = rng.choice(rooms) if rooms and rng.random() > private_share else other
            text = f"line {number} of {who}"
            says.append(Say(at_s=self.moment(), who=who, target=target, text=text))
        return says

    def _rulings(self) -> list[Rule]:
        """In some runs with rooms the owner makes moderators, and then they and others rule, rightly and wrongly."""
        rng = random.Random(f"{self.seed}/rulings")  # of its own: what else a seed draws does not depend on it
        if not self.rooms or rng.random() > _RULED_SHARE:
            return []
        rulings = []
        for room, members in self.rooms.items():
            accounts = sorted({self.account(name) for name in members})
            if len(accounts) < 2:
                continue
            owner, others = members[0], [name for name in accounts if name != self.account(members[0])]
            for whom in rng.sample(others, min(2, len(others))):
                rulings.append(Rule(at_s=round(rng.uniform(0.0, 2.0), 3), who=owner, room=room, act="op", whom=whom))
            for _ in range(rng.randint(1, 8)):
                who = rng.choice((owner, rng.choice(members)))
                whom = rng.choice([name for name in accounts if name != self.account(who)])
                at_s = round(rng.uniform(2.0, self.lasts_s), 3)
                rulings.append(Rule(at_s=at_s, who=who, room=room, act=rng.choice(_ACTS), whom=whom))
        return rulings

    def account(self, name: str) -> str:
        return self.devices.get(name, name)

    def moment(self) -> float:
        return round(self.rng.uniform(0.0, self.lasts_s), 3)

    def span(self) -> float:
        """How long a fault lasts: short ones are as likely as long ones."""
        return round(self.lasts_s * self.rng.choice((0.05, 0.2, 0.5, 1.0)), 3)

    def somebody(self) -> str:
        return self.rng.choice(self.people)

    def hosts(self) -> tuple[str, ...]:
        """Some of all, not all."""
        everybody = (*self.people, BOOTSTRAP)
        return tuple(sorted(self.rng.sample(everybody, self.rng.randint(1, len(everybody) - 1))))

    def soon_after_a_line(self) -> tuple[float, str]:
        """A moment in which a line is on its way, and somebody: half of the time its author."""
        say = self.rng.choice(self.says)
        who = say.who if self.rng.random() < 0.5 else self.somebody()
        return round(min(self.lasts_s, say.at_s + self.rng.choice((0.0, self.rng.expovariate(10.0)))), 4), who


def _crash(drawing: _Drawing) -> list[AnyStep]:
    rng = drawing.rng
    at_s, who = drawing.soon_after_a_line() if rng.random() < 0.7 else (drawing.moment(), drawing.somebody())
    return [
        Crash(
            at_s=at_s,
            who=who,
            power=rng.random() < 0.5,
            rounds=rng.choice((0, 0, 1, 2, 3, 5, 8)),
            down_s=_down_s(rng),
            elsewhere=rng.random() < 0.3,
        )
    ]


def _crash_at_commit(drawing: _Drawing) -> list[AnyStep]:
    """Of somebody who is to hear a line, or of its author, at the commit that the line leads to, or at one soon after it."""
    rng = drawing.rng
    say = rng.choice(drawing.says)
    hearers = drawing.rooms.get(say.target, (say.target,))
    return [
        CrashAtCommit(
            at_s=say.at_s,
            who=rng.choice(sorted({*hearers, say.who})),
            done=rng.random() < 0.5,
            skip=rng.choice((0, 0, 0, 1, 2)),
            power=rng.random() < 0.5,
            down_s=_down_s(rng),
            elsewhere=rng.random() < 0.3,
        )
    ]


def _quit(drawing: _Drawing) -> list[AnyStep]:
    rng = drawing.rng
    at_s, who = drawing.soon_after_a_line() if rng.random() < 0.5 else (drawing.moment(), drawing.somebody())
    return [Quit(at_s=at_s, who=who, down_s=_down_s(rng), elsewhere=rng.random() < 0.3)]


def _down_s(rng: random.Random) -> float:
    return round(rng.choice((0.0, 1.0, 10.0, 60.0)) * rng.uniform(0.5, 1.0), 2)


def _in_and_out(drawing: _Drawing) -> list[AnyStep]:
    if not drawing.rooms:
        return []
    rng = drawing.rng
    room, who = rng.choice(sorted(drawing.rooms)), drawing.somebody()
    kinds: list[type[Join] | type[Part]] = [Join, Part]
    return [rng.choice(kinds)(at_s=drawing.moment(), who=who, room=room)]


def _topic(drawing: _Drawing) -> list[AnyStep]:
    if not drawing.rooms:
        return []
    room = drawing.rng.choice(sorted(drawing.rooms))
    who = drawing.rng.choice(drawing.rooms[room])
    return [Topic(at_s=drawing.moment(), who=who, room=room, text=f"topic {drawing.rng.randrange(1000)}")]


def _away(drawing: _Drawing) -> list[AnyStep]:
    who, at_s = drawing.somebody(), drawing.moment()
    back_s = at_s + drawing.rng.choice((0.0, 0.1, 5.0))
    return [Away(at_s=at_s, who=who, text="at lunch"), Away(at_s=min(back_s, drawing.lasts_s), who=who, text=None)]


def _clock_jump(drawing: _Drawing) -> list[AnyStep]:
    skew_s = round(drawing.rng.uniform(-_SKEW_S, _SKEW_S))
    return [ClockJump(at_s=drawing.moment(), who=drawing.somebody(), skew_s=skew_s)]


def _clock_far_off(drawing: _Drawing) -> list[AnyStep]:
    skew_s = round(drawing.rng.choice((-1, 1)) * drawing.rng.uniform(*_FAR_OFF_S))
    return [ClockFarOff(at_s=drawing.moment(), who=drawing.somebody(), skew_s=skew_s, for_s=drawing.span())]


def _disk_full(drawing: _Drawing) -> list[AnyStep]:
    """Often with a crash in the middle, when what was said lies only in memory."""
    rng = drawing.rng
    at_s, who = drawing.soon_after_a_line()
    at_s = max(0.0, round(at_s - rng.uniform(0.0, 1.0), 3))
    full = DiskFull(at_s=at_s, who=who, for_s=round(rng.choice((1.0, 5.0, 20.0)) * rng.uniform(0.5, 1.0), 2))
    if rng.random() < 0.5:
        return [full]
    dies_s = round(min(drawing.lasts_s, at_s + full.for_s * rng.random()), 3)
    return [full, Crash(at_s=dies_s, who=who, power=False, rounds=0, down_s=_down_s(rng), elsewhere=False)]


def _loss(drawing: _Drawing) -> list[AnyStep]:
    share = drawing.rng.choice((0.02, 0.1, 0.3))
    return [Loss(at_s=drawing.moment(), for_s=drawing.span(), share=share)]


def _duplication(drawing: _Drawing) -> list[AnyStep]:
    return [Duplication(at_s=drawing.moment(), for_s=drawing.span(), share=drawing.rng.choice((0.1, 0.5)))]


def _reordering(drawing: _Drawing) -> list[AnyStep]:
    rng = drawing.rng
    share, delay_s = rng.choice((0.1, 0.5)), rng.choice((0.1, 1.0, 5.0))
    return [Reordering(at_s=drawing.moment(), for_s=drawing.span(), share=share, delay_s=delay_s)]


def _slow_paths(drawing: _Drawing) -> list[AnyStep]:
    rng = drawing.rng
    share, mean_s = rng.choice((0.05, 0.3)), rng.choice((0.5, 3.0))
    return [SlowPaths(at_s=drawing.moment(), for_s=drawing.span(), share=share, mean_s=mean_s)]


def _split(drawing: _Drawing) -> list[AnyStep]:
    one_way = drawing.rng.random() < 0.3
    return [Split(at_s=drawing.moment(), for_s=drawing.span(), left=drawing.hosts(), one_way=one_way)]


def _swizzle_clog(drawing: _Drawing) -> list[AnyStep]:
    hosts = list(drawing.hosts())
    stopping, returning = drawing.rng.sample(hosts, len(hosts)), drawing.rng.sample(hosts, len(hosts))
    step_s = round(drawing.span() / (2 * len(hosts)), 3)
    return [SwizzleClog(at_s=drawing.moment(), stopping=tuple(stopping), returning=tuple(returning), step_s=step_s)]


def _liars(drawing: _Drawing) -> list[AnyStep]:
    return [Liars(at_s=drawing.moment(), for_s=drawing.span(), count=drawing.rng.randint(1, 2))]


def _replayer(drawing: _Drawing) -> list[AnyStep]:
    return [Replayer(at_s=drawing.moment(), for_s=drawing.lasts_s, every_s=drawing.rng.choice((0.05, 0.5)))]


def _intrusion(drawing: _Drawing) -> list[AnyStep]:
    rng = drawing.rng
    entered = {room: {drawing.account(name) for name in members} for room, members in drawing.rooms.items()}
    pairs = [(who, room) for room in entered for who in drawing.people if drawing.account(who) not in entered[room]]
    if not pairs:
        return []
    who, room = rng.choice(pairs)
    return [Intrusion(at_s=drawing.moment(), who=who, room=room, for_s=drawing.span(), every_s=rng.choice((0.5, 3.0)))]


_KINDS: Final[tuple[Callable[[_Drawing], list[AnyStep]], ...]] = (
    _crash,
    _crash_at_commit,
    _quit,
    _in_and_out,
    _topic,
    _away,
    _clock_jump,
    _clock_far_off,
    _disk_full,
    _loss,
    _duplication,
    _reordering,
    _slow_paths,
    _split,
    _swizzle_clog,
    _liars,
    _replayer,
    _intrusion,
)

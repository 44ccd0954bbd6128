"""Makes a plan that fails smaller, as long as it still fails in the same way: less happens, to fewer people, for less long."""

from collections.abc import Callable, Iterator

import msgspec

from .plans import AnyStep, Plan

END_S = 1.0
"""What a shortened plan has left after its last step."""


def shrink(plan: Plan, still_fails: Callable[[Plan], bool], *, runs_max: int) -> Plan:
    """The smallest plan found with at most `runs_max` calls of `still_fails`, which is true for `plan` itself."""
    runs = 0
    while True:
        for smaller in _smaller(plan):
            if runs == runs_max:
                return plan
            runs += 1
            if still_fails(smaller):
                plan = smaller
                break
        else:
            return plan


def _smaller(plan: Plan) -> Iterator[Plan]:
    """What may be left out, the largest pieces first (Zeller's delta debugging, with people as pieces, too)."""
    last_s = max((step.at_s for step in plan.steps), default=0.0) + END_S
    if last_s < plan.lasts_s:
        yield msgspec.structs.replace(plan, lasts_s=last_s)
    size = len(plan.steps) // 2
    while size:
        for start in range(0, len(plan.steps), size):
            yield _with_steps(plan, plan.steps[:start] + plan.steps[start + size :])
        if size == len(plan.steps) // 2:  # in between, because everybody who goes takes steps along
            fewer = (plan.without_people(frozenset({name})) for name in plan.people)
            yield from (smaller for smaller in fewer if len(smaller.people) >= 2)
        size //= 2
    yield from (_without_room(plan, room) for room in plan.rooms)


def _with_steps(plan: Plan, steps: tuple[AnyStep, ...]) -> Plan:
    return msgspec.structs.replace(plan, steps=steps)


def _without_room(plan: Plan, room: str) -> Plan:
    rooms = {name: members for name, members in plan.rooms.items() if name != room}
    steps = tuple(
        step for step in plan.steps if room not in (getattr(step, "room", None), getattr(step, "target", None))
    )
    return msgspec.structs.replace(plan, rooms=rooms, steps=steps)

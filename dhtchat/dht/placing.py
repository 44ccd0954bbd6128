"""Puts our own entries where they live in their tree, and shows them further up where they are the first or the last.

The depth is remembered between refreshes. A node that has split since sends us one deeper; one that is not there sends us
up. Showing the edges of a leaf to the node above is what keeps that node in being: it tells readers where somebody is, it
makes a replica that is new there ask whether the node has split, and when nobody comes any more the node is forgotten.
"""

from dhtchat.dht.announcer import Announcement
from dhtchat.dht.replicas import Outcome, PutReport, Replicas, report_of
from dhtchat.dht.tree_reader import TreeReader
from dhtchat.limits import PLACINGS_MAX, TREE_DEPTH_MAX
from dhtchat.records.acceptance import Reason
from dhtchat.records.kinds import TREE_KINDS, SoftRecord


class Placer:
    """Stores at the nodes of trees until it has found the leaf."""

    def __init__(self, replicas: Replicas, trees: TreeReader) -> None:
        self._replicas = replicas
        self._trees = trees

    async def place(self, announcement: Announcement, record: SoftRecord) -> tuple[PutReport, list[Outcome]]:
        """What became of it at its leaf. `announcement` remembers where that is, and where copies may be."""
        depth = 0 if announcement.depth is None else announcement.depth
        cold = announcement.depth is None
        report, outcomes = report_of([], 0), list[Outcome]()
        newest_sequence = 0
        too_deep = TREE_DEPTH_MAX + 1
        """The highest depth at which there is no node."""
        for _ in range(PLACINGS_MAX):
            report, outcomes = await self._replicas.put(record, depth=depth, lives=depth)
            newest_sequence = max(newest_sequence, report.newest_sequence)
            if _has_split(outcomes) and depth + 1 < too_deep:
                if any(outcome.holds for outcome in outcomes):
                    announcement.copies.add(depth)
                depth = min(await self._deeper(record, depth, search=cold), too_deep - 1)
                cold = False
            elif depth and _is_no_node(outcomes):
                too_deep = min(too_deep, depth)
                depth -= 1
            else:
                break
        # What is left of copies made on the way dies with its time to live: said goodbye to for as long as we are here.
        announcement.depth = depth
        await self.speak(announcement, record, outcomes)
        return report._replace(newest_sequence=newest_sequence), outcomes

    async def _deeper(self, record: SoftRecord, depth: int, *, search: bool) -> int:
        """Where to try next. `search`: we come from the root, and the leaf may be far below it."""
        if not search:
            return depth + 1
        assert isinstance(record.body, TREE_KINDS)
        found = await self._trees.find(record.body.tree(), record.body.item(record.key), whole=False)
        return max(depth + 1, len(found.leaf)) if found.answered else depth + 1

    async def speak(self, announcement: Announcement, record: SoftRecord, outcomes: list[Outcome]) -> None:
        """Show what was stored at its leaf to the node above, for as long as it is among the first or the last."""
        depth = above = announcement.depth or 0
        while above and _is_edge(outcomes):
            above -= 1
            announcement.copies.add(above)
            _, outcomes = await self._replicas.put(record, depth=above, lives=depth)
            if any(outcome.kept for outcome in outcomes) and not _has_split(outcomes):
                # The replicas of that node have all gone, or nobody was there for long: begin again at the root.
                announcement.depth = None
                return


def _has_split(outcomes: list[Outcome]) -> bool:
    """The majority's word, of those who hold anything there."""
    split = sum(outcome.standing.split for outcome in outcomes)
    return split > sum(outcome.holds and not outcome.standing.split for outcome in outcomes)


def _is_no_node(outcomes: list[Outcome]) -> bool:
    refused = sum(outcome.kept is not None and outcome.kept.reason is Reason.NO_NODE for outcome in outcomes)
    return refused > sum(outcome.holds for outcome in outcomes)


def _is_edge(outcomes: list[Outcome]) -> bool:
    """Whether anybody sees it so: to be shown once too often costs little, never to be shown hides a whole leaf."""
    return any(outcome.standing.edge for outcome in outcomes)

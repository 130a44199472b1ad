"""The plan of a simulation, by seed: what is posted when, and which faults strike. A plan can be made smaller.

Faults and posts are lists of their own, each item with its time. Without one of them the others stay as they are, and
only what the workers make of it changes.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from typing import Final

from processors.core.records.commands import PutWfSpec
from processors.core.rules.context import Limits
from processors.runtime.group.crash_points import CrashPoint
from tests.chaos.script import Posting, Script, definition_commands, posting
from tests.simulation.operators import Poison, poison_of
from tests.simulation.process import Kind, Phase, Strike

SLOTS: Final = ("a", "b", "c", "d")
STATIC: Final = frozenset({"b", "d"})
"""Slots whose workers are static members of the group."""

CALLS: Final = (
    "poll", "poll", "begin_transaction", "produce", "flush", "send_offsets_to_transaction", "txn_offset_commit",
    "txn_offset_commit", "commit_transaction", "commit_transaction", "commit_transaction", "init_transactions",
    "memberid", "consumer_group_metadata", "list_offsets", "committed", "describe_consumer_groups",
    "join_group", "join_group", "sync_group", "heartbeat",
    "consume", "incremental_assign", "incremental_unassign", "get_watermark_offsets", "purge", "sleep", "close",
    *(str(point) for point in CrashPoint),
)  # fmt: skip
REQUESTS: Final = frozenset(
    {"send_offsets_to_transaction", "txn_offset_commit", "commit_transaction", "init_transactions",
     "get_watermark_offsets", "list_topics", "abort_transaction"}
)  # fmt: skip
POISONED: Final = 0.3
"""The share of plans with a bug that only an operator, or mended code, gets past."""
SECONDS: Final = (0.05, 0.05, 0.2, 0.5, 0.5, 1.5, 3.0, 3.0, 7.0, 11.0, 16.0)
"""The seconds that a fault lasts: the last three exceed the session time-out, the last two that of transactions."""


class Happening(StrEnum):
    """A fault that does not strike at a single call."""

    KILL = "kill"
    TERM = "term"
    """SIGTERM; the slot is started again."""
    REMOVE = "remove"
    """SIGTERM for good."""
    ADD = "add"
    REPLACE = "replace"
    """The worker is stopped (SIGSTOP) for a time, and another takes its slot meanwhile."""
    CUT_OFF = "cut-off"
    """The network carries nothing to the worker and nothing from it."""
    REBALANCE = "rebalance"
    SHUFFLE = "shuffle"
    """A rebalance in which more shards move than must."""
    GIVE_UP = "give-up"
    """The group takes a living worker for dead, perhaps just while it joins again."""
    LEADERS_GONE = "leaders-gone"
    """A third of all partitions have no leader for a time."""
    GROUP_MOVES = "group-moves"
    """The group's coordinator moves to another broker."""
    TRANSACTIONS_MOVE = "transactions-move"
    RULES_BREAK = "rules-break"
    """For a time the worker has a bug: folds raise, and shards are paused. Then it is started again, mended."""
    SLOW_MARKS = "slow-marks"
    """For a time the markers of transactions are written late."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault. If `what` is a Strike, it waits for its call in the worker of the slot."""

    at: float
    slot: str
    what: Happening | Strike
    seconds: float = 0.0

    def __str__(self) -> str:
        if isinstance(self.what, Strike):
            it = self.what
            seconds = f" {it.seconds:g} s" if it.seconds else ""
            return f"{self.at:8.3f} {self.slot} {it.kind}{seconds} {it.phase} call {it.skip + 1} of {it.call or 'any'}"
        return f"{self.at:8.3f} {self.slot or '-'} {self.what}" + (f" {self.seconds:g} s" if self.seconds else "")


@dataclass(frozen=True, slots=True)
class Post:
    """Records that are posted. With `transaction_s` they are in a transaction that is open for so long."""

    at: float
    postings: tuple[Posting, ...]
    transaction_s: float | None = None
    commit: bool = True

    def __str__(self) -> str:
        how = "" if self.transaction_s is None else f" ({'committed' if self.commit else 'aborted'} transaction)"
        return f"{self.at:8.3f} " + ", ".join(f"{it.topic} {(it.key or b'').decode()}" for it in self.postings) + how


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a simulation is made of."""

    seed: int
    seconds: float
    slots: tuple[str, ...]
    faults: tuple[Fault, ...]
    posts: tuple[Post, ...]
    partitions: int = 4
    poison: Poison | None = None
    stuck_s: float = 400.0
    """The seconds after the last fault in which everything must be folded."""
    kept_correlated_ms: int = Limits().kept_correlated_ms
    """Time for which an event waits for a WfRun to have its correlation key."""

    def without(self, *, faults: Sequence[Fault] = (), posts: Sequence[Post] = ()) -> "Plan":
        """Return the plan with fewer faults or posts."""
        return replace(
            self,
            faults=tuple(it for it in self.faults if it not in faults),
            posts=tuple(it for it in self.posts if it not in posts),
        )

    def __str__(self) -> str:
        lines = [str(self.poison)] if self.poison is not None else []
        lines += [f"seed {self.seed}, {self.partitions} shards, workers {', '.join(self.slots)}, {self.seconds:g} s"]
        lines += [f"  fault {it}" for it in self.faults] + [f"  post  {it}" for it in self.posts]
        return "\n".join(lines)


IN_BURSTS: Final = (0.01, 0.01, 0.01, 0.05, 0.05, 5.0)
"""The factors of the times between two posts in plans whose posts come in bursts: then turns overlap."""


def plan_of(seed: int, faults: int = 60, seconds: float = 60.0, posts_a_second: float = 2.0) -> Plan:
    """Return the plan of a seed."""
    randomness = random.Random(f"plan {seed}")
    slots = SLOTS[: randomness.choice((1, 2, 2, 3, 3, 4))]
    among = (*slots * 4, *SLOTS)
    drawn = [_fault(randomness, randomness.uniform(0.5, seconds), among) for _ in range(faults)]
    strikes = tuple(sorted(drawn, key=lambda it: it.at))
    posts = [Post(0.0, definitions())]
    at, pace = 1.0, random.Random(f"pace {seed}")
    bursts = pace.random() < 0.5
    for step in Script(seed):
        at += randomness.expovariate(posts_a_second) * (pace.choice(IN_BURSTS) if bursts else 1.0)
        if at > seconds:
            break
        transaction_s = None
        if step.way.value == "transaction":
            transaction_s = randomness.choice((0.005, 0.02, 0.02, 0.3, 3.0))
        postings = step.postings * (2 if step.way.value == "again" else 1)
        posts.append(Post(at, postings, transaction_s, step.commit))
    partitions = randomness.choice((1, 2, 4, 4))
    poison = poison_in(randomness, posts, seconds) if randomness.random() < POISONED else None
    return Plan(seed, seconds, slots, strikes, tuple(posts), partitions, poison)


def poison_in(draw: random.Random, posts: Sequence[Post], seconds: float) -> Poison | None:
    """Return a bug that one of the WfRuns of these posts meets."""
    postings = ((post.at, it) for post in posts if post.commit for it in post.postings)
    keys = ((at, it.key) for at, it in postings if it.topic == "external-events" and it.key is not None)
    return poison_of(draw, keys, seconds)


@cache
def definitions() -> tuple[Posting, ...]:
    """Return the WfSpecs of the fault harness. The one with an endless loop goes round once."""
    found = []
    for command in definition_commands():
        ending = command
        if isinstance(command, PutWfSpec) and command.name == "reminder":
            document = json.loads(command.document)
            document["threads"]["main"]["nodes"]["wait"]["next"] = "done"
            ending = replace(command, document=json.dumps(document))
        found.append(posting(ending))
    return tuple(found)


def _fault(randomness: random.Random, at: float, slots: Sequence[str]) -> Fault:
    slot = randomness.choice(slots)
    if randomness.random() < 0.35:
        return Fault(at, slot, randomness.choice(list(Happening)), randomness.choice(SECONDS))
    kind = randomness.choices(list(Kind), (30, 20, 12, 12, 10, 8, 3))[0]
    call = randomness.choice(CALLS) if randomness.random() < 0.8 else ""
    phase = randomness.choice(list(Phase)) if call in REQUESTS or not call or kind is Kind.LATE else Phase.BEFORE
    seconds = randomness.choice((*SECONDS, *SECONDS, 65.0)) if kind in {Kind.STOP, Kind.STALL, Kind.LATE} else 0.0
    most = 200 if not call else 60 if call in {"poll", "produce"} else 3
    return Fault(at, slot, Strike(kind, phase, seconds, call, randomness.randrange(most)))

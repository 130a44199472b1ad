"""Plans that are made for one precaution of the runtime each: chance alone rarely gets to where it matters.

Each attack is a family of plans. Its seed chooses the inputs and shifts the times, so that a change of the runtime that
moves things a little leaves enough plans that hit. MUTATIONS and ATTACKS have the same names.
"""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from tests.simulation.operators import Reaction, Where
from tests.simulation.plan import Fault, Happening, Plan, plan_of, poison_in
from tests.simulation.process import Kind, Phase, Strike

Attack = Callable[[random.Random], tuple[tuple[str, ...], list[Fault]]]
ATTACKS: Final[dict[str, Callable[[int], Plan]]] = {}
SECONDS: Final = 24.0
LATE_RECORDS: Final = 20
"""About as many as a turn has."""
STUCK_S: Final = 60.0
"""Shorter than for plans with any fault: after these attacks a worker is stuck sooner or not at all."""


def against(precaution: str, reaction: Reaction | None = None) -> Callable[[Attack], Attack]:
    """Register an attack. It chooses which slots have workers, and the faults. With a reaction there is a bug."""

    def put(attack: Attack) -> Attack:
        def plan(seed: int) -> Plan:
            draw = random.Random(f"{precaution} {seed}")
            slots, faults = attack(draw)
            quiet = plan_of(seed, faults=0, seconds=SECONDS, posts_a_second=6.0)
            in_order = tuple(sorted(faults, key=lambda it: it.at))
            found = replace(quiet, slots=slots, faults=in_order, partitions=4, stuck_s=STUCK_S)
            return found if reaction is None else poisoned(found, draw, reaction)

        ATTACKS[precaution] = plan
        return attack

    return put


def poisoned(plan: Plan, draw: random.Random, reaction: Reaction) -> Plan:
    """Register an attack with a bug, and an operator who reacts in this way."""
    poison = poison_in(draw, plan.posts, plan.seconds)
    assert poison is not None, "no WfRun gets inputs"
    where = draw.choice((Where.FIRST, Where.MIDDLE))
    return replace(plan, poison=replace(poison, mended_at=plan.seconds, where=where, reaction=reaction))


def before(kind: Kind, call: str, seconds: float = 0.0, skip: int = 0) -> Strike:
    """Return a strike before a call."""
    return Strike(kind, Phase.BEFORE, seconds, call, skip)


@against("the member id is noted by every poll")
def a_static_member_joins_late_and_the_others_share_out_slowly(
    draw: random.Random,
) -> tuple[tuple[str, ...], list[Fault]]:
    """The session is over when the join comes; the worker wakes up between its new name and the assignment."""
    at, late = draw.uniform(3.0, 5.0), draw.uniform(6.5, 8.0)
    return ("b", "c"), [
        Fault(at, "b", Happening.REBALANCE),
        Fault(at, "b", before(Kind.LATE, "join_group", late)),
        Fault(at + 1.1, "b", before(Kind.STALL, draw.choice(("poll", "after-poll")), late - draw.uniform(0.0, 1.0))),
        Fault(at, "c", before(Kind.LATE, "sync_group", 3.0, 1)),
    ]


@against("the member id is not compared")
def a_static_member_commits_between_its_new_name_and_what_is_shared_out(
    draw: random.Random,
) -> tuple[tuple[str, ...], list[Fault]]:
    """The worker slept in the middle of a turn; other workers have its records by then, and its name is valid again."""
    at, late = draw.uniform(3.0, 5.0), draw.uniform(6.5, 8.0)
    call = draw.choice(("after-poll", "mid-fold", "after-flush"))
    return ("b", "c"), [
        Fault(at, "b", Happening.REBALANCE),
        Fault(at, "b", before(Kind.LATE, "join_group", late)),
        Fault(at + 1.1, "b", before(Kind.STALL, call, late + draw.uniform(0.0, 2.5))),
        Fault(at, "c", before(Kind.LATE, "sync_group", 4.0, 1)),
    ]


@against("what was kept under another name is folded on")
def a_static_member_is_back_when_who_had_its_shards_is_gone(
    draw: random.Random,
) -> tuple[tuple[str, ...], list[Fault]]:
    """The worker joins late, after its session. Another comes, folds and goes meanwhile, unknown to this one."""
    at = draw.uniform(3.0, 4.0)
    return ("b",), [
        Fault(at, "b", before(Kind.LATE, "join_group", 13.0)),
        Fault(at + 1.0, "c", Happening.ADD),
        Fault(at + 2.2, "b", before(Kind.STALL, draw.choice(("poll", "mid-fold")), 15.0)),
        Fault(at + draw.uniform(10.0, 12.0), "c", Happening.REMOVE),
    ]


@against("only the offsets are settled")
@against("state is read before it is settled")
def an_owner_is_given_up_while_it_commits(draw: random.Random) -> tuple[tuple[str, ...], list[Fault]]:
    """The end of its transaction is decided, and half marked, when the next owner loads its state."""
    faults = []
    for at in (4.0, 8.0, 12.0, 16.0, 20.0):
        owner = draw.choice(("a", "c"))
        faults += [
            Fault(at, owner, Happening.SLOW_MARKS, 3.0),
            Fault(at, owner, Strike(Kind.STOP, Phase.SENT, 2.0, "commit_transaction")),
            Fault(at + draw.uniform(0.1, 0.4), owner, Happening.GIVE_UP),
        ]
    return ("a", "c"), faults


@against("a restore ends at the first end that is told")
@against("an answer without an offset counts as one")
def shards_are_loaded_while_leaders_are_gone(draw: random.Random) -> tuple[tuple[str, ...], list[Fault]]:
    """Owners die one after the other, each while a third of all partitions have no leader."""
    faults = []
    for at in (6.0, 11.0, 16.0, 21.0):
        faults += [
            Fault(at, slot, what, draw.uniform(1.0, 3.0))
            for slot, what in (("a", Happening.TERM), ("b", Happening.KILL), ("a", Happening.LEADERS_GONE))
        ]
        faults.append(Fault(at + draw.uniform(0.5, 2.0), "a", Happening.LEADERS_GONE, draw.uniform(1.0, 3.0)))
    return ("a", "b"), faults


@against("answers are waited for without end")
def a_question_is_forgotten(draw: random.Random) -> tuple[tuple[str, ...], list[Fault]]:
    """Drop one of the questions that a load asks, in a worker that is alone."""
    call = draw.choice(("list_offsets", "committed"))
    return ("a",), [
        Fault(4.0, "a", Happening.TERM),
        Fault(4.1, "a", before(Kind.HANG, call, skip=draw.randrange(3))),
        Fault(12.5, "a", before(Kind.HANG, call, skip=draw.randrange(3))),
        Fault(12.6, "a", before(Kind.REFUSED, "txn_offset_commit")),
    ]


@against("clients are let go of while they are asked")
def two_loads_share_a_client(draw: random.Random) -> tuple[tuple[str, ...], list[Fault]]:
    """Turns are aborted while shards move and partitions have no leaders: one load meets the error, another waits."""
    faults = []
    for at in (4.0, 8.0, 12.0, 16.0, 20.0):
        faults += [
            Fault(at, "a", Happening.SHUFFLE),
            Fault(at + draw.uniform(0.0, 1.0), "a", before(Kind.REFUSED, "txn_offset_commit")),
            Fault(at + draw.uniform(0.0, 1.0), "a", Happening.LEADERS_GONE, draw.uniform(0.5, 3.0)),
            Fault(at + draw.uniform(0.0, 1.5), "a", before(Kind.LATE, "list_offsets", 3.0)),
        ]
    return ("a", "c"), faults


@against("a callback finds a turn open")
def a_shard_moves_while_a_turn_is_open(draw: random.Random) -> tuple[tuple[str, ...], list[Fault]]:
    """The worker stands still behind a turn whose records arrive late, until it has to give up shards."""
    faults = []
    for at in (4.0, 14.0):
        faults += [Fault(at, "a", before(Kind.LATE, "produce", draw.uniform(5.0, 7.0))) for _ in range(LATE_RECORDS)]
        faults.append(Fault(at, "a", before(Kind.STALL, "after-produce", draw.uniform(1.2, 2.0))))
        faults.append(Fault(at + draw.uniform(0.0, 0.5), "a", Happening.SHUFFLE))
    return ("a", "c"), faults


@against("a turn is kept that was folded on top of one that failed")
@against("a turn is committed with the offsets of the next")
@against("a turn begins before the one before it has ended")
def a_commit_fails_while_the_next_turn_is_folded(draw: random.Random) -> tuple[tuple[str, ...], list[Fault]]:
    """It is refused, or its worker dies behind it."""
    faults = []
    for step in range(20):
        at, slot = 3.0 + step, draw.choice(("a", "c"))
        if draw.random() < 0.5:
            faults.append(Fault(at, slot, before(Kind.REFUSED, "txn_offset_commit", skip=draw.randrange(3))))
        else:
            faults.append(Fault(at, slot, before(Kind.CRASH, "after-commit", skip=draw.randrange(3))))
    return ("a", "c"), faults


@against("a record that breaks a rule is passed over", Reaction.WAIT)
@against("what was kept is forgotten on release", Reaction.QUARANTINE)
@against("a quarantine keeps nothing", Reaction.QUARANTINE)
def a_rule_breaks_while_workers_come_and_go(draw: random.Random) -> tuple[tuple[str, ...], list[Fault]]:
    """One worker dies, one is stopped, and the group rebalances."""
    return ("a", "b"), [
        Fault(draw.uniform(4.0, SECONDS), "a", Happening.KILL),
        Fault(draw.uniform(4.0, SECONDS), "b", Happening.TERM),
        Fault(draw.uniform(4.0, SECONDS), "a", Happening.SHUFFLE),
    ]

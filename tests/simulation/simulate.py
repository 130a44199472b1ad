"""One simulation from plan to verdict."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from unittest.mock import patch

from processors.runtime.group.clients import Clients
from processors.runtime.loading.garbage import GARBAGE
from processors.runtime.turn import committing, folding
from tests.simulation.plan import Plan
from tests.simulation.verdict import findings_of
from tests.simulation.worker import silence
from tests.simulation.world import Figures, WentWrong, World, world_of


@dataclass
class Result:
    """The result of a plan. `problem` says what went wrong; it is empty if nothing did."""

    plan: Plan
    problem: str
    figures: Figures
    history: list[str] = field(default_factory=list)


def simulate(plan: Plan, clients_class: type[Clients] = Clients) -> Result:
    """Run a plan, and judge the result."""
    silence()
    # No garbage collection while it runs: freed objects make calls, and these would come at another moment every time.
    with GARBAGE.paused(), in_small_turns(), world_of(plan, clients_class) as world:
        problem = _problem(world)
        return Result(plan, problem, world.figures, world.history)


@contextmanager
def in_small_turns() -> Iterator[None]:
    """Have outputs handed over while other shards are folded, as in the large turns of real workers."""
    with patch.object(folding, "WORTH_THE_WAY", 6), patch.object(committing, "CAUTIOUS_TURNS", 4):
        yield


def _problem(world: World) -> str:
    try:
        world.run()
    except WentWrong as found:
        return str(found)
    findings = findings_of(world)
    if not findings:
        return ""
    kinds = Counter(str(finding.kind) for finding in findings)
    counts = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    return f"{counts}; " + "; ".join(map(str, findings[:3]))

"""The verdict on a simulation: that of the fault harness on the same topics, and a check of the group's offsets."""

from collections.abc import Iterator

from processors.codec import Codec
from tests.chaos.cancelling import check_cancellations
from tests.chaos.findings import Finding, Kind
from tests.chaos.folding import FoldedLog, check_positions
from tests.chaos.following import check_rows_follow
from tests.chaos.outcomes import blocks_of, check_aborted, check_outcomes, check_seq
from tests.chaos.redeciding import Redecider
from tests.chaos.tape import entries
from tests.chaos.timers import check_requests, check_timers
from tests.simulation.correlating import check_correlation
from tests.simulation.quarantine import findings_with_operators
from tests.simulation.world import World


def findings_of(world: World) -> list[Finding]:
    """Return everything that is wrong with the topics."""
    tape = world.tape()
    log = list(entries(tape))
    blocks = blocks_of(log)
    folded = FoldedLog(log)
    if world.operator is not None:
        common = [*check_seq(log), *folded.findings, *folded.check_rows(tape), *check_rows_follow(tape, log)]
        common += [*check_requests(tape, log), *check_cancellations(tape, log)]
        ours = findings_with_operators(tape, log, Codec.load(), world.operator.skipped)
        return [*common, *ours, *check_aborted(tape), *check_positions(tape, log), *check_group(world)]
    found = [
        *check_outcomes(tape, blocks),
        *check_aborted(tape),
        *check_seq(log),
        *folded.findings,
        *folded.check_rows(tape),
        *check_rows_follow(tape, log),
        *check_positions(tape, log),
        *check_requests(tape, log),
        *check_cancellations(tape, log),
        *check_timers(tape, blocks),
        *check_correlation(tape, log, world.plan.kept_correlated_ms),
        *check_group(world),
    ]
    for partition in range(tape.partitions):
        found += Redecider(tape, Codec.load(), partition).check([it for it in blocks if it.partition == partition])
    return found


def check_group(world: World) -> Iterator[Finding]:
    """Expect that the group's offsets are never ahead of what is folded, and never before what a transaction set."""
    offsets = world.broker.group(world.topics.group).offsets
    if offsets.pending:
        yield Finding(Kind.STATE, f"offsets are pending at the end: {offsets.pending}")
    for (topic, partition), (offset, _) in offsets.committed.items():
        log = world.broker.log((topic, partition))
        if log.visible(offset) is not None:
            yield Finding(Kind.STATE, f"{topic}[{partition}]: the group stands at {offset}, which is not the end")

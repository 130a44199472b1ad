"""Checks that task workers are told once of each attempt that an event on the log cancels, and of no other."""

from collections import Counter
from collections.abc import Iterable, Iterator

from tests.chaos.avro import decode, log_entry, row
from tests.chaos.findings import Finding, Kind
from tests.chaos.tape import TASK_CANCELLATIONS, Entry, Tape
from tests.support.cancellations import CancellationOracle


def check_cancellations(tape: Tape, log: Iterable[Entry], *, all_told: bool = True) -> Iterator[Finding]:
    """Compare what the log says with what task workers were told.

    `all_told`: False if workers wrote the schemas of an earlier release for a time, which tell nothing.
    """
    wanted: Counter[tuple[int, bytes | None, bytes]] = Counter()
    oracles: dict[tuple[int, str], CancellationOracle | None] = {}
    for entry in log:
        key = entry.partition, entry.fields["wf_run_id"]
        if key not in oracles:
            oracles[key] = CancellationOracle(key[1])
        oracle = oracles[key]
        if oracle is None:
            continue
        try:
            told = oracle.see(log_entry(entry.name, entry.fields))
        except Exception as error:  # noqa: BLE001  a wrong log may break a fold anywhere
            oracles[key] = None
            yield Finding(Kind.TASK, f"{entry}: what it cancels cannot be said: {error!r}")
            continue
        wanted.update((key[0], key[1].encode(), row(it)) for it in told)
    found = Counter((address.partition, it.key, it.value or b"") for address, it in tape.of(TASK_CANCELLATIONS))
    for record in wanted.keys() | found.keys():
        if found[record] > wanted[record] or (all_told and found[record] < wanted[record]):
            partition, key, value = record
            place, what = f"{TASK_CANCELLATIONS}[{partition}], key {key!r}", shown(value)
            yield Finding(Kind.TASK, f"{place}: {what} is there {found[record]} times, expected {wanted[record]}")


def shown(value: bytes) -> str:
    """Return a cancellation for people; bytes that are none as they are."""
    try:
        return f"{decode(value)[1]}"
    except ValueError:
        return repr(value)

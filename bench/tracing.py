"""Measures what traces cost the fold: an interrupt, with tracing off and on.

    python -m bench.tracing [--interrupts 4000] [--json]

Off, with and without the headers of a trace on the records; on, for records without a context, with one that is not
sampled, and with one that is. One WfRun gets the interrupts, 500 in a turn; each brings about seven events. Spans are
made by OpenTelemetry's SDK and sent nowhere. Times are CPU time, because the machine may have other work; the ways take
turns, and the median of the rounds counts.
"""

import argparse
import json
import statistics
import time

from opentelemetry.sdk.trace import TracerProvider

from processors.core.records.commands import RunWf
from processors.fold.inputs import Headers
from processors.kafka.tracing import Tracing
from tests.fold.test_shard_fold import add, with_cart
from tests.support.shard_rig import ShardRig

TURN = 500
ROUNDS = 5
CONTEXT = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-"
SAMPLED: Headers = (("traceparent", CONTEXT + b"01"),)
NOT_SAMPLED: Headers = (("traceparent", CONTEXT + b"00"),)
WAYS: dict[str, tuple[bool, Headers]] = {
    "off": (False, ()),
    "off, with headers": (False, SAMPLED),
    "on, without context": (True, ()),
    "on, not sampled": (True, NOT_SAMPLED),
    "on, sampled": (True, SAMPLED),
}


def interrupt_us(interrupts: int, *, on: bool, headers: Headers) -> float:
    """Return the microseconds of one interrupt."""
    rig = with_cart(ShardRig(tracing=Tracing(TracerProvider()) if on else None))
    commands = [RunWf("c1", "cart"), *(add(number) for number in range(interrupts))]
    reads = [rig.shard.read(rig.command(it)._replace(headers=headers)) for it in commands]
    begun = time.process_time()
    for number, read in enumerate(reads, 1):
        rig.shard.fold(read)
        if number % TURN == 0:
            rig.shard.take_outputs(rows=True)
            rig.shard.committed()
    return (time.process_time() - begun) / interrupts * 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--interrupts", type=int, default=4_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(ROUNDS):
        for name, (on, headers) in WAYS.items():
            found[name].append(interrupt_us(options.interrupts, on=on, headers=headers))
    medians = {name: round(statistics.median(times), 1) for name, times in found.items()}
    if options.json:
        print(json.dumps({"tracing": medians}))
        return
    for name, microseconds in medians.items():
        print(f"{name:20}  {microseconds:6.1f} us")


if __name__ == "__main__":
    main()

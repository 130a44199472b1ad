"""A worker that notes when its threads go from one phase of a turn to the next. `bench/turns.py` makes a picture of it.

    python bench/timed_worker.py TIMES worker --slot NAME [--ready-file FILE]

It is `halter` with the arguments behind TIMES, the file that gets the notes when the worker ends. Timers are put around
methods by name, so that the same file times the code of another checkout, whose environment runs it. What is not found
there is named in the notes. Nothing is imported but the standard library and the code that is timed.
"""

import functools
import importlib
import json
import os
import runpy
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TURN = "processors.runtime.turn."
GROUP = "processors.runtime.group."
AFTER = "before and after a commit"
PHASES = {
    TURN + "turns:Turns.next": "between the phases",
    TURN + "turns:Turns.hand_over": "between the phases",
    TURN + "turns:Turns.commit": "between the phases",
    TURN + "arrivals:Arrivals.poll": "poll",
    TURN + "polling:Polling._read": "decode",
    TURN + "committing:Committing.finish": AFTER,
    TURN + "committing:Committing.write": AFTER,
    TURN + "committing:Committing.commit": AFTER,
    TURN + "committing:Committing.settle": AFTER,
    TURN + "breath:Breath.take": "breath",
    "processors.fold.shard_fold:ShardFold.take_outputs": "rows, positions",
}
"""Method -> the phase that its calls are. A phase within another one is not counted to that one.

Some methods are those of other releases. What is missing is a phase without any of its methods.
"""
CALLS = {
    "begin_transaction": "begin",
    "flush": "flush",
    "send_offsets_to_transaction": "offsets",
    "commit_transaction": "commit",
}
"""Call of the client, made by KafkaCalls -> phase."""
Method = Callable[..., Any]


class Times:
    """Notes of all threads: at this time this thread went on with this phase, or with none."""

    def __init__(self) -> None:
        self.switches: list[tuple[float, int, str | None]] = []
        self.turns: list[tuple[float, str, list[int]]] = []
        self.found: dict[str, bool] = {}
        """Phase, or method that is not a phase -> whether it was found."""
        self.written: dict[int, list[Any]] = {}
        """Transaction -> the number of its records, and the partitions that they are on."""
        self._threads = threading.local()

    def begin(self, phase: str) -> None:
        """Go on with a phase, within the present one."""
        stack = self._stack()
        stack.append(phase)
        self.switches.append((time.monotonic(), threading.get_native_id(), phase))

    def end(self) -> None:
        """Go on with the phase before."""
        stack = self._stack()
        stack.pop()
        self.switches.append((time.monotonic(), threading.get_native_id(), stack[-1] if stack else None))

    def _stack(self) -> list[str]:
        try:
            stack: list[str] = self._threads.stack
        except AttributeError:
            stack = self._threads.stack = []
        return stack

    def around(self, phase: str, method: Method) -> Method:
        """Return a method whose calls are a phase."""

        @functools.wraps(method)
        def timed(*arguments: Any, **more: Any) -> Any:
            self.begin(phase)
            try:
                return method(*arguments, **more)
            finally:
                self.end()

        return timed

    def write(self, path: Path) -> None:
        """Write everything as JSON."""
        missing = [name for name, found in self.found.items() if not found]
        notes = {"switches": self.switches, "turns": self.turns, "missing": missing, "loop": os.getpid()}
        path.write_text(json.dumps(notes), encoding="utf-8")


TIMES = Times()


def replace(where: str, by: Callable[[Method], Method], phase: str | None = None) -> None:
    """Put another method in place of one, and note whether it was there."""
    module, _, name = where.partition(":")
    owner, _, method = name.partition(".")
    try:
        holder = getattr(importlib.import_module(module), owner)
        setattr(holder, method, by(holder.__dict__[method]))
        found = True
    except (ImportError, AttributeError, KeyError):
        found = False
    TIMES.found[phase or name] = found or TIMES.found.get(phase or name, False)


def idle_when_it_waits(poll: Method) -> Method:
    """Return Membership.poll: a poll that may wait is a phase of its own."""

    def timed(self: Any, wait_seconds: float) -> Any:
        if not wait_seconds:
            return poll(self, wait_seconds)
        TIMES.begin("idle")
        try:
            return poll(self, wait_seconds)
        finally:
            TIMES.end()

    return timed


def named_by_its_call(once: Method) -> Method:
    """Return KafkaCalls.once: the phase is named after the call."""

    def timed(self: Any, call: Method, *arguments: Any) -> Any:
        phase = CALLS.get(call.__name__)
        if phase is None:
            return once(self, call, *arguments)
        TIMES.begin(phase)
        try:
            return once(self, call, *arguments)
        finally:
            TIMES.end()

    return timed


def awaited(fold: Method) -> Method:
    """Return Folding.fold, a coroutine: what is not the fold itself is the way to the agents and back."""

    async def timed(self: Any, *arguments: Any) -> Any:
        TIMES.begin("to the agents and back")
        try:
            return await fold(self, *arguments)
        finally:
            TIMES.end()

    return timed


def iterated(records: Method) -> Method:
    """Return Batch.__iter__, whose phase lasts from the first record until after the last one."""

    def timed(self: Any) -> Any:
        TIMES.begin("fold")
        try:
            yield from records(self)
        finally:
            TIMES.end()

    return timed


def counted(produce: Method) -> Method:
    """Return Transaction.produce, which counts what is written."""
    timed_produce = TIMES.around("produce", produce)

    def timed(self: Any, outputs: Any) -> Any:
        outputs = list(outputs)
        seen = TIMES.written.setdefault(id(self), [0, set()])
        seen[0] += len(outputs)
        seen[1].update([output[:2] for output in outputs])
        return timed_produce(self, outputs)

    return timed


def committed(commit: Method) -> Method:
    """Return Transaction.commit, which notes how large the turn was."""

    def timed(self: Any, offsets: Any, *more: Any) -> Any:
        done = commit(self, offsets, *more)
        records, places = TIMES.written.pop(id(self), (0, ()))
        TIMES.turns.append((time.monotonic(), "written", [len(offsets), records, len(places)]))
        return done

    return timed


def sized(folded: Method) -> Method:
    """Return TurnSize.folded, which notes how many records were folded."""

    def timed(self: Any, records: int, *more: Any) -> Any:
        TIMES.turns.append((time.monotonic(), "folded", [records]))
        return folded(self, records, *more)

    return timed


SPECIAL: dict[str, Callable[[Method], Method]] = {
    GROUP + "membership:Membership.poll": idle_when_it_waits,
    GROUP + "calls:KafkaCalls.once": named_by_its_call,
    TURN + "folding:Folding.fold": awaited,
    TURN + "batch:Batch.__iter__": iterated,
    GROUP + "transaction:Transaction.produce": counted,
    GROUP + "transaction:Transaction.commit": committed,
    TURN + "turn_size:TurnSize.folded": sized,
}


def main() -> None:
    """Put the timers in place, run, write the notes."""
    if not sys.flags.safe_path:
        sys.path[0] = str(Path.cwd())
    times = Path(sys.argv[1])
    sys.argv[1:2] = []
    for where, phase in PHASES.items():
        replace(where, functools.partial(TIMES.around, phase), phase)
    for where, by in SPECIAL.items():
        replace(where, by)
    exit_at_once = os._exit

    def write_and_exit(code: int) -> None:
        TIMES.write(times)
        exit_at_once(code)

    # A command that is done does not wait for Python's own exit.
    os._exit = write_and_exit
    try:
        runpy.run_module("halter", run_name="__main__", alter_sys=True)
    finally:
        TIMES.write(times)


if __name__ == "__main__":
    main()

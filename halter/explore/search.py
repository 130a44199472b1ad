"""The search: from state to state, the nearest first, until everything within the bounds was seen or enough was.

Each state is visited once. What is found first is therefore found by a shortest path: no other takes fewer inputs.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from halter.explore.claims import Claim, Claims, Scene
from halter.explore.coverage import Coverage, ambiguous
from halter.explore.findings import Finding, Kind
from halter.explore.inputs import Bounds, Input, Inputs, TooManyTimers, take
from halter.explore.probing import is_quiet, quiet_kind, seen_by_conditions, unmoved
from halter.explore.reads import Suspects, first_reads
from halter.explore.samples import Samples
from halter.explore.states import Keys, State, Workbench, over
from halter.explore.subject import WF_RUN_ID, Subject
from processors.core.records.errors import HalterError
from processors.core.records.events import (
    ExternalEventDropped,
    InterruptDropped,
    LogEntry,
    ThreadFailed,
    WfRunEnded,
)
from processors.core.records.model import Changes, ExternalEventStatus, Failure, Status, ThreadRun, WfRun
from processors.core.rules.engine import new_run

START_MS: Final = 1_767_225_600_000
"""The time at which a scenario starts, if its document does not say."""
READ_TRIES_MAX: Final = 20
"""How many paths are looked through for one Variable that may be read before it is written."""
PROBED_MAX: Final = 2_000
"""How many states are looked at to probe one quiet state."""
PROBED_IN_ALL_MAX: Final = 20_000
"""How many states are looked at to probe all of them."""


@dataclass(slots=True)
class Covered:
    """The numbers of what a search covered."""

    states: int = 0
    inputs: int = 0
    """Inputs that were folded, in whatever state."""
    depth: int = 0
    """The inputs on the path to the furthest state."""
    waiting: int = 0
    """States that were seen, and from which nothing was tried."""
    cut_by: str | None = None
    """The bound that ended the search; None if everything was explored."""
    unprobed: int = 0
    """Quiet states of which it is not known whether their threads can go on."""


@dataclass(slots=True)
class Report:
    """The result of a search."""

    covered: Covered
    findings: list[Finding] = field(default_factory=list)


Tell = Callable[[Covered, int], None]
"""Hears now and then what is covered so far, and how many findings there are."""
TELL_EVERY: Final = 200


_LOOKED_AT: Final = frozenset({ThreadFailed, InterruptDropped, ExternalEventDropped, WfRunEnded})


class RuleBroke(HalterError):
    """A rule of the engine raised an exception: a bug of ours, to be reported with the path that it names."""


class Search:
    """A search of one WfSpec within bounds."""

    def __init__(self, subject: Subject, samples: Samples, bounds: Bounds, claims: Claims | None = None) -> None:
        self._subject, self._claims = subject, claims or Claims()
        self._context = subject.context
        self._keys = Keys(subject.spec)
        self._inputs = Inputs(subject, samples, bounds)
        self._suspects = Suspects(subject.spec)
        self._seen = seen_by_conditions(subject.spec)
        self._tries: dict[tuple[str, str, str], int] = {}
        self.came: dict[int, tuple[int, Input] | None] = {}
        """Each state seen -> the state before it, and the input between them."""
        self.frontier: deque[State] = deque()
        """The states from which nothing was tried yet, the nearest first."""
        self.quiet: dict[object, State] = {}
        """The nearest quiet state of each kind."""
        self.findings: dict[tuple[Kind, tuple[str, ...]], Finding] = {}
        self.coverage = Coverage(ambiguous(subject.spec))
        self.covered = Covered()
        root = State(new_run(WF_RUN_ID), START_MS, {}, (0,) * len(self._inputs.event_defs), 0, 0, 0, 0)
        self.came[root.key] = None
        self.frontier.append(root)
        self.covered.states = 1

    def explore(self, states_max: int, depth_max: int | None = None, tell: Tell | None = None) -> Report:
        """Search until everything is covered, or so many states, or so deep; return what was found."""
        covered = self.covered
        for number, state in enumerate(self.nearest(states_max, depth_max), 1):
            self.frontier.extend(self.expand(state))
            if tell is not None and number % TELL_EVERY == 0:
                covered.waiting = len(self.frontier)
                tell(covered, len(self.findings))
        covered.waiting = len(self.frontier)
        if self.frontier:
            covered.cut_by = "states" if covered.states >= states_max else "depth"
        self.probe(self.quiet)
        return self.report()

    def nearest(self, states_max: int, depth_max: int | None = None) -> Iterator[State]:
        """Take the nearest state that waits, again and again, while there are not so many states, nor so deep ones."""
        while self.frontier and self.covered.states < states_max:
            if depth_max is not None and self.frontier[0].depth >= depth_max:
                return
            yield self.frontier.popleft()

    def report(self) -> Report:
        """Return what was found so far, and what was not reached."""
        never = (Finding(Kind(it.kind), it.where, it.sentence) for it in self.coverage.never(self._subject.spec))
        return Report(self.covered, sorted_findings([*self.findings.values(), *never]))

    def expand(self, state: State) -> list[State]:
        """Try every input in a state; return the states that are new."""
        bench = Workbench(state, self._context, self._keys)
        new: list[State] = []
        for taken in self._inputs.of(state):
            run = bench.lend()
            try:
                entries, now_ms = take(run, taken, state.depth, state.now_ms, self._context)
            except TooManyTimers:
                # The path ends before that: a scenario in which time passes would not come to its end either.
                sentence = "as soon as time passes, timers fire without end, all at one moment"
                self._find(Kind.FAILURE, ("endless-timers",), sentence, state, None)
                bench = Workbench(state, self._context, self._keys)
                continue
            except Exception as error:
                path = ", ".join(map(_brief, [*self.path(state.key), taken]))
                raise RuleBroke(f"a rule raised {type(error).__name__}: {error}; report it with {path}") from error
            self.covered.inputs += 1
            started = self.coverage.see(state.run.threads, entries)
            self._look(state, taken, run, entries, started)
            after = self._settled(bench, state, taken, run, now_ms)
            if after is not None:
                new.append(after)
        return new

    def _settled(self, bench: Workbench, state: State, taken: Input, run: WfRun, now_ms: int) -> State | None:
        """Make a state of what an input led to; return it if it is new."""
        parts = bench.settle(run)
        posted, stops = self._inputs.posted(state, taken), state.stops + taken.stops
        last, ended = state.last, 0
        if run.final_status is not None and last is None:
            last = next(thread for thread in run.changes.left if thread.number == 0)
            ended = self._keys.of_thread(last)[0]
        promised, broken = state.promised, list[Claim]()
        if self._claims and run.exists:
            promised, broken = self._claims.judge(Scene(run, run.threads.get(0) or last), promised, over(run))
        key = self._keys.of(run, parts, now_ms, posted, stops, promised, ended)
        if key in self.came:
            return None
        run.changes = Changes()
        after = State(run, now_ms, parts, posted, stops, promised, key, state.depth + 1, last)
        self.came[key] = state.key, taken
        self.covered.states += 1
        self.covered.depth = max(self.covered.depth, after.depth)
        for claim in broken:
            self._find(Kind.CLAIM, (claim.form, claim.name), claim.sentence, state, taken, claim.shown(run, last))
        if is_quiet(run):
            self.quiet.setdefault(quiet_kind(run, self._seen), after)
        return after

    # What is found on the way.

    def _find(
        self,
        kind: Kind,
        where: tuple[str, ...],
        sentence: str,
        state: State,
        taken: Input | None,
        shows: Sequence[dict[str, Any]] = (),
    ) -> None:
        if (kind, where) not in self.findings:
            path = [*self.path(state.key), *([] if taken is None else [taken])]
            self.findings[kind, where] = Finding(kind, where, sentence, path, shows)

    def path(self, key: int) -> list[Input]:
        """Return the inputs that lead to a state."""
        path: list[Input] = []
        came = self.came[key]
        while came is not None:
            key, taken = came
            path.append(taken)
            came = self.came[key]
        return path[::-1]

    def _look(
        self, state: State, taken: Input, run: WfRun, entries: Sequence[LogEntry], started: Mapping[int, str]
    ) -> None:
        for entry in entries:
            event = entry.event
            kind = type(event)
            if kind in _LOOKED_AT:
                if isinstance(event, ThreadFailed):
                    if event.thread == 0:
                        self._failed(state, taken, run, event.failure)
                elif isinstance(event, WfRunEnded):
                    self._unclaimed(state, taken, run)
                else:
                    self._dropped(state, taken, event)
        if self._suspects:
            for suspect in self._suspects.among(state.run, run, entries, started):
                tries = self._tries.get(suspect, 0)
                if tries < READ_TRIES_MAX:
                    self._tries[suspect] = tries + 1
                    self._read(state, taken)

    def _failed(self, state: State, taken: Input, run: WfRun, failure: Failure) -> None:
        root, number = failure, 0
        while root.cause is not None and root.cause_thread is not None:
            number = root.cause_thread
            root = root.cause
        rows = {thread.number: thread for thread in run.changes.left} | run.threads
        row = rows.get(number)
        where = (root.name,) if row is None else (root.name, row.thread_spec, row.node.node)
        if (Kind.FAILURE, where) in self.findings:
            return
        place = "" if row is None else f" at node {row.node.node} of ThreadSpec {row.thread_spec}"
        status = failure.failure_class.value
        as_what = "" if root is failure else f", as {failure.name}"
        sentence = f"the WfRun ends in {status}: {root.name}{place}{as_what}"
        self._find(
            Kind.FAILURE,
            where,
            sentence,
            state,
            taken,
            [_expect(status=status, threads={"0": {"status": status, "failure": _named(failure)}})],
        )

    def _dropped(self, state: State, taken: Input, event: Any) -> None:
        name = event.external_event_def
        if (Kind.DROPPED, (name,)) in self.findings:
            return
        expected = {"external_event_def": name, "external_event_id": event.external_event_id}
        shows = [{"expect_events": {"contains": [{type(event).__name__: expected}]}}]
        sentence = f"ExternalEvent {name} is dropped: {event.reason}"
        self._find(Kind.DROPPED, (name,), sentence, state, taken, shows)

    def _unclaimed(self, state: State, taken: Input, run: WfRun) -> None:
        unclaimed = [name for name, ids in run.index.unclaimed.items() if ids]
        left = [name for name in unclaimed if (Kind.UNCLAIMED, (name,)) not in self.findings]
        if not left:
            return
        events = run.external_events.values()
        ids = [it.external_event_id for it in events if it.status is ExternalEventStatus.UNCLAIMED]
        for name in left:
            sentence = f"ExternalEvent {name} is still unclaimed when the WfRun is over"
            self._find(Kind.UNCLAIMED, (name,), sentence, state, taken, [_expect(unclaimed=ids)])

    def _read(self, state: State, taken: Input) -> None:
        path = [*self.path(state.key), taken]
        for read in first_reads(self._subject, path, START_MS):
            spec, node, name = where = read.where
            self._suspects.confirmed(where)
            sentence = f"node {node} of ThreadSpec {spec} reads Variable {name} before anything wrote it"
            contains = [{read.event: {"thread": read.thread, "node": node}}]
            shown = [{"expect_events": {"contains": contains}}] if read.has_node else []
            self._find(Kind.UNWRITTEN, where, sentence, state, taken, shown)

    # What is found at the end.

    def probe(self, kinds: Iterable[object]) -> None:
        """Find out, of kinds of quiet states, whether their threads can go on."""
        probed = list(kinds)
        budget = PROBED_IN_ALL_MAX
        for state in [self.quiet[kind] for kind in probed]:
            if budget <= 0:
                self.covered.unprobed += 1
                continue
            left, looked_at = unmoved(self._subject, self._inputs, state, PROBED_MAX)
            budget -= looked_at
            if left is None:
                self.covered.unprobed += 1
                continue
            threads = [state.run.threads[number] for number in sorted(left.numbers)]
            running = [thread for thread in threads if thread.status is Status.RUNNING]
            # Those that are held wait for the others. If only such are left, whoever holds them can only fail.
            for thread in running or ([] if left.may_fail else threads):
                self._stuck(state, thread, left.may_fail)

    def _stuck(self, state: State, thread: ThreadRun, may_fail: bool) -> None:
        node = thread.node.node
        held = [str(reason) for reason in thread.halt_reasons]
        where = f"it is {thread.status} at node {node}"
        sentence = f"thread {thread.number} of ThreadSpec {thread.thread_spec} can never go on: {where}"
        if held:
            sentence += f", held by {', '.join(held)}"
        if may_fail:
            sentence += "; only a failure can end it"
        expected = {"status": thread.status.value, "node": node, "halt_reasons": held}
        shows = [
            _expect(threads={str(thread.number): expected}),
            {"clock": "+365d"},
            _expect(threads={str(thread.number): expected}),
        ]
        self._find(Kind.STUCK, (thread.thread_spec, node), sentence, state, None, shows)


def _brief(taken: Input) -> str:
    """Return an input without its values, some of which may be masked."""
    command = taken.command
    if command is None:
        return f"clock +{taken.wait_ms}ms"
    said = (getattr(command, name, None) for name in ("external_event_def", "thread", "status", "failure_name"))
    return " ".join([type(command).__name__, *(str(it) for it in said if it is not None)])


def _expect(**expected: Any) -> dict[str, Any]:
    return {"expect": {"wf": WF_RUN_ID, **expected}}


def _named(failure: Failure) -> dict[str, Any]:
    """Return what a scenario expects of a failure: the names in its chain."""
    if failure.cause is None:
        return {"name": failure.name}
    return {"name": failure.name, "cause": {"thread": failure.cause_thread, **_named(failure.cause)}}


ORDER: Final = list(Kind)


def sorted_findings(findings: Sequence[Finding]) -> list[Finding]:
    """Return findings in the order in which an author reads them: problems first, the shortest paths first."""
    return sorted(findings, key=lambda it: (ORDER.index(it.kind), len(it.path or ()), it.where))

"""A thread's Variables: what it sees, where a write goes, what it starts with."""

from collections.abc import Mapping

from processors.core.records.model import ThreadRun, WfRun
from processors.core.records.spec import INPUT, ThreadSpec
from processors.core.records.values import (
    CHARACTERS_PER_STEP,
    TOTAL_BYTES_MAX,
    TellableProblem,
    TooMuchWork,
    Value,
    ValueProblem,
    check_total,
    size_of,
    stored,
)


class ThreadScope:
    """The values that an expression of a thread may read: Variables up to thread 0, and outputs of its own nodes.

    Writes are kept aside until the edge that they belong to is taken, because the mutations of an edge happen together
    or not at all. Later reads see them (rule later-mutation-sees-earlier).
    """

    __slots__ = ("_output", "_reads", "_run", "_thread_run", "writes")

    def __init__(self, run: WfRun, thread: ThreadRun, output: tuple[str, Value] | None = None) -> None:
        self._run = run
        self._thread_run = thread
        self._output = output
        self.writes: dict[tuple[int, str], Value] = {}
        self._reads: list[str] = []
        """The Variables whose values may come to stand in a sentence."""

    def spend(self, steps: int) -> None:
        """Count steps of work; raises TooMuchWork if a command takes too many of them (rule computing-is-counted)."""
        index = self._run.index
        index.steps_left -= steps
        if index.steps_left < 0:
            raise TooMuchWork

    def tell(self, problem: ValueProblem) -> str:
        """Return a problem as a sentence of a failure, which everybody may read (rule masked-value-not-told)."""
        if any(self._is_masked(name) for name in self._reads):
            return f"{problem.unquoted} (values of masked Variables are not shown)"
        return str(problem)

    def _is_masked(self, name: str) -> bool:
        owner = self._thread_run if name in self._thread_run.variables else self._above(name)[0]
        return self._run.spec_of(owner).variables[name].masked

    def variable(self, name: str) -> Value:
        """Return the value in the nearest thread that stores it; raises ValueProblem."""
        owner = self.owner(name)
        self._reads.append(name)
        key = (owner.number, name)
        return self.writes[key] if key in self.writes else owner.variables[name]

    def owner(self, name: str) -> ThreadRun:
        """Return the nearest thread that stores a Variable of this name; raises ValueProblem.

        That holds for INPUT too, which several of them may have (rules scope-goes-upward, nearest-input-is-read).
        """
        thread = self._thread_run
        if name in thread.variables:
            return thread
        owner, steps = self._above(name)
        self.spend(steps)
        return owner

    def _above(self, name: str) -> tuple[ThreadRun, int]:
        for steps, above in enumerate(self._run.ancestors(self._thread_run), 1):
            if name in above.variables:
                return above, steps
        raise TellableProblem(f"Variable {name!r} is not in scope of thread {self._thread_run.number}")

    def check_room(self, *, keeps_output: bool) -> None:
        """Raise ValueProblem if a thread would store more than one record may hold.

        What counts are the writes, and the node's output if the thread keeps that. A thread is not summed up if the
        values are so small that they could not be too much, however many the thread has.
        """
        suspects = set()
        for (number, _), value in self.writes.items():
            if self._may_be_too_much(self._run.threads[number], value):
                suspects.add(number)
        outputs: dict[str, Value] = {}
        if keeps_output and self._output is not None:
            node, output = self._output
            outputs[node] = output
            if self._may_be_too_much(self._thread_run, output):
                suspects.add(self._thread_run.number)
        for number in sorted(suspects):
            owner = self._run.threads[number]
            written = {name: value for (thread, name), value in self.writes.items() if thread == number}
            variables = {**owner.variables, **written}
            kept = {**owner.outputs, **outputs} if owner is self._thread_run else owner.outputs
            check_total((*variables.values(), *kept.values()), f"Variables and outputs of thread {number}")

    def _may_be_too_much(self, owner: ThreadRun, value: Value) -> bool:
        size = size_of(value)
        if size >= CHARACTERS_PER_STEP:
            self.spend(size // CHARACTERS_PER_STEP)
        return size * (len(owner.variables) + len(owner.outputs) + 1) > TOTAL_BYTES_MAX

    def output(self, node: str) -> Value:
        """Return the output of the node's most recent run here; raises ValueProblem (rule latest-output-of-a-node)."""
        if self._output is not None and self._output[0] == node:
            return self._output[1]
        try:
            return self._thread_run.outputs[node]
        except KeyError:
            raise TellableProblem(f"node {node!r} has no output in thread {self._thread_run.number} yet") from None


def starting_variables(spec: ThreadSpec, given: Mapping[str, Value]) -> dict[str, Value]:
    """Return all Variables of a new thread: what is given, else the default, else null (rule variable-starts-with).

    A null that is given means the default. Raises ValueProblem for an unknown name, a missing required one, or a value
    of the wrong type (rule given-variables-checked).
    """
    for name in given:
        if name in spec.variables:
            continue
        unknown = min(given.keys() - spec.variables.keys())
        known = ", ".join(sorted(spec.variables)) or "none"
        raise TellableProblem(f"ThreadSpec {spec.name!r} has no Variable {unknown!r}; it has {known}")
    variables: dict[str, Value] = {}
    for name, definition in spec.variables.items():
        if definition.required and name not in given:
            raise TellableProblem(f"Variable {name!r} of ThreadSpec {spec.name!r} is required")
        value = given.get(name)
        if value is None:
            value = definition.default
        try:
            variables[name] = stored(value, definition.type)
        except ValueProblem as problem:
            # A masked value must not stand in a sentence: nobody could take it out again.
            what = problem.unquoted if definition.masked else str(problem)
            where = f"Variable {name!r} of ThreadSpec {spec.name!r}"
            raise ValueProblem(f"{where}: {what}", f"{where}: {problem.unquoted}") from None
    check_total(variables.values(), f"Variables of ThreadSpec {spec.name!r}")
    return variables


def handler_variables(spec: ThreadSpec, content: Value) -> tuple[dict[str, Value], ValueProblem | None]:
    """Return the Variables of a handler: `INPUT` is the content, if the handler declares it (rule payload-is-input).

    A content that does not fit comes back as the problem: the handler exists and fails at its first node.
    """
    given = {INPUT: content} if INPUT in spec.variables else {}
    try:
        return starting_variables(spec, given), None
    except ValueProblem as problem:
        variables = {name: definition.default for name, definition in spec.variables.items()}
        return variables, problem

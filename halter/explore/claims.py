"""Claims: what an author says must never, always or eventually be so, in a small document beside the WfSpec.

    never:
      charged twice: {gt: [{var: charges}, 1]}
    always:
      total is not negative: {ge: [{var: total_cents}, 0]}
    eventually:
      decided: {ne: [{var: receipt}, null]}
    values:
      events: {item-added: [{sku: a, quantity: 1, price_cents: 500}]}
      tasks: {charge-card: [receipt-1]}
      variables: {customer: [c1]}

A claim is a condition in the language of WfSpecs. It reads the Variables of thread 0, and `WF_RUN`: an object with
`status`, `node` (of thread 0), `failure` (its name, or null), `threads` (the ThreadSpecs of live threads), `tasks` (the
TaskDefs whose attempts are out) and `unclaimed` (the ExternalEventDefs of unclaimed ExternalEvents). It is computed
after each input. What cannot be computed is not true.

`eventually` says that it was true at some moment before the WfRun was over.
"""

from dataclasses import dataclass
from typing import Any, Final

from halter.explore.subject import WF_RUN_ID
from halter.scenarios.writing import written
from processors.core.records.model import TERMINAL, ExternalEventStatus, ThreadRun, WfRun
from processors.core.records.spec import Expression, VariableRef, walk
from processors.core.records.values import Value, ValueProblem
from processors.core.wf_spec.expression_text import expression_text
from processors.core.wf_spec.expressions import condition

WF_RUN: Final = "WF_RUN"
FORMS: Final = ("never", "always", "eventually")


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim."""

    form: str
    name: str
    condition: Expression

    @property
    def sentence(self) -> str:
        """Return that it does not hold, as a sentence."""
        text = expression_text(self.condition)
        match self.form:
            case "never":
                return f"never {self.name}: but {text}"
            case "always":
                return f"always {self.name}: but not {text}"
            case _:
                return f"eventually {self.name}: the WfRun is over, and it never was that {text}"

    def shown(self, run: WfRun, last: ThreadRun | None) -> list[dict[str, Any]]:
        """Return the steps of a scenario that show what the claim speaks of."""
        thread = run.threads.get(0) or last
        names = sorted({it.name for it in walk(self.condition) if isinstance(it, VariableRef) and it.name != WF_RUN})
        expected: dict[str, Any] = {"wf": WF_RUN_ID, "status": None if run.status is None else run.status.value}
        if thread is not None and names:
            expected["variables"] = {"0": {name: written(thread.variables[name]) for name in names}}
        return [{"expect": expected}]


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of an author."""

    always: tuple[Claim, ...] = ()
    """`always` and `never`: each state is looked at."""
    eventually: tuple[Claim, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.always or self.eventually)

    def judge(self, scene: "Scene", promised: int, is_over: bool) -> tuple[int, list[Claim]]:
        """Return which `eventually` were true until now, as bits, and the claims that do not hold."""
        broken = [claim for claim in self.always if scene.holds(claim.condition) is (claim.form == "never")]
        for place, claim in enumerate(self.eventually):
            if not promised & (1 << place) and scene.holds(claim.condition):
                promised |= 1 << place
        if is_over:
            broken += [claim for place, claim in enumerate(self.eventually) if not promised & (1 << place)]
        return promised, broken


class Scene:
    """What a claim sees of a state: the Variables of thread 0, and the WfRun."""

    def __init__(self, run: WfRun, thread: ThreadRun | None) -> None:
        self._run, self._thread = run, thread

    def holds(self, claimed: Expression) -> bool:
        """Return True if a condition is true; what cannot be computed is not."""
        try:
            return condition(claimed, self)
        except ValueProblem:
            return False

    def variable(self, name: str) -> Value:
        """Return the value of a Variable of thread 0; raises ValueProblem."""
        if name == WF_RUN:
            return self._of_wf_run()
        if self._thread is None or name not in self._thread.variables:
            raise ValueProblem(f"thread 0 has no Variable {name}")
        return self._thread.variables[name]

    def output(self, node: str) -> Value:
        """Raise ValueProblem: a claim sees no outputs."""
        raise ValueProblem(f"a claim sees no output of {node}")

    def spend(self, steps: int) -> None:
        """Count nothing: a claim is small."""

    def _of_wf_run(self) -> Value:
        run, thread = self._run, self._thread
        live = [it for it in run.threads.values() if it.status not in TERMINAL]
        out = [it.node.task.task_def for it in live if it.task_out and it.node.task is not None]
        events = run.external_events.values()
        unclaimed = [it.external_event_def for it in events if it.status is ExternalEventStatus.UNCLAIMED]
        return {
            "status": None if run.status is None else run.status.value,
            "node": None if thread is None else thread.node.node,
            "failure": None if thread is None or thread.failure is None else thread.failure.name,
            "threads": [it.thread_spec for it in live],
            "tasks": list(out),
            "unclaimed": list(unclaimed),
        }

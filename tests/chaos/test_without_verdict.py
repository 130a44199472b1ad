"""What becomes of an attack on bindings or sinks that comes to no verdict. No broker runs here."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.chaos.bindings import Attack, Outcome, summed
from tests.chaos.mapping_subjects import SUBJECTS


class Scripted(Attack):
    """An attack whose installation and faults only do as the test says."""

    def __init__(self, folder: Path, struck: Callable[[str], Outcome]) -> None:
        self.said: list[str] = []
        super().__init__(folder, SUBJECTS["sinks"](), self.said.append)
        self.struck, self.installed = struck, list[Path]()

    def _installed(self, folder: Path, stack: ExitStack) -> Any:  # noqa: ARG002
        self.installed.append(folder)
        return None, None

    def _struck(self, name: str, *_: Any) -> Outcome:
        return self.struck(name)


def struck(name: str) -> Outcome:
    if name == "kill":
        raise AssertionError("kill-0 takes part: not within 60 s")
    return Outcome(name, 10, 10, 0, 0, 0, 1.0)


def test_a_run_without_verdict_is_told_and_costs_no_other_fault_its_verdict(tmp_path: Path) -> None:
    attack = Scripted(tmp_path, struck)
    none, kill, cut = attack.run(["none", "kill", "cut"])
    assert [(it.name, it.runs, it.without_verdict) for it in (none, kill, cut)] == [
        ("none", 1, 0), ("kill", 0, 1), ("cut", 1, 0),
    ]  # fmt: skip
    assert kill.problems == ["no verdict: AssertionError: kill-0 takes part: not within 60 s"]
    assert len(attack.said) == 3
    # Nobody knows what state the first is in.
    assert len(attack.installed) == len(set(attack.installed)) == 2


def test_an_installation_that_does_not_come_up_costs_one_fault(tmp_path: Path) -> None:
    class Late(Scripted):
        def _installed(self, folder: Path, stack: ExitStack) -> Any:
            if not self.installed:
                self.installed.append(folder)
                raise TimeoutError("the broker")
            return super()._installed(folder, stack)

    none, cut = Late(tmp_path, struck).run(["none", "cut"])
    assert (none.without_verdict, cut.without_verdict) == (1, 0)


def test_sums_do_not_count_it_as_a_run() -> None:
    (it,) = summed([struck("cut"), Outcome.without("cut", 1.0, TimeoutError("late")), struck("cut")])
    assert (it.runs, it.records, it.without_verdict) == (2, 20, 1)
    assert it.problems == ["no verdict: TimeoutError: late"]

"""The table of attacks on bindings and sinks says what the runs found."""

import json
from dataclasses import asdict
from pathlib import Path

from tests.chaos.bindings import Outcome
from tests.chaos.mapping_table import read, table

RIGHT = Outcome("kill", 1_000, 1_900, 0, 0, 0, 30.0)
WRONG = Outcome("kill", 1_000, 1_899, 2, 1, 3, 30.0, ["2 effects are lost"])
BUSY = Outcome("cut", 10, 10, 0, 0, 0, 30.0, ["1 processes ended"])
SILENT = Outcome.without("none", 60.0, TimeoutError("the broker"))


def table_of(folder: Path, *runs: tuple[str, Outcome]) -> list[str]:
    file = folder / "results.jsonl"
    file.write_text("".join(json.dumps({"of": of, **asdict(outcome)}) + "\n" for of, outcome in runs))
    return table(read([file])).splitlines()


def test_runs_of_a_fault_are_summed_for_each_subject(tmp_path: Path) -> None:
    lines = table_of(tmp_path, ("bindings", RIGHT), ("sinks", RIGHT), ("bindings", RIGHT))
    assert "| `kill -9` of one of the two | 2 | 3,800 | 0 | 0 |  |  |  |  | 1 | 1,900 | 0 | 0 |" in lines
    assert lines[-1] == "Out of order: 0. Otherwise not as promised: 0 runs. Without a verdict: 0 runs."


def test_what_is_wrong_is_told(tmp_path: Path) -> None:
    lines = table_of(tmp_path, ("bindings", RIGHT), ("bindings", WRONG), ("sinks", BUSY), ("sinks", SILENT))
    assert "| `kill -9` of one of the two | 2 | 3,799 | 2 | 1 |  |  |  |  |  |  |  |  |" in lines
    assert lines[-1] == "Out of order: 3. Otherwise not as promised: 1 runs. Without a verdict: 1 runs."


def test_a_fault_that_came_to_no_verdict_has_no_figures(tmp_path: Path) -> None:
    assert "| none |  |  |  |  |  |  |  |  |  |  |  |  |" in table_of(tmp_path, ("sinks", SILENT))

"""Runs the scenario document of a history, to say whether these rules give what was recorded.

Tokens may stand in the place of masked values. If a rule that looks at one decides otherwise, there is no document.
"""

import json
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from halter import DISTRIBUTION
from halter.files.scenario_document import read_scenario
from halter.files.whole_file import whole_file
from halter.files.yaml_files import parse_yaml
from halter.history.export import export
from halter.history.export_file import ExportFile
from halter.history.scenario_of import ALL, Draft, Wanted, no_file, scenario_of
from halter.history.source import Source
from halter.history.turns import NoScenario
from halter.scenarios import found
from halter.scenarios.definitions import register
from halter.scenarios.found import WfRunFound
from halter.scenarios.memory import MemoryEngine
from halter.scenarios.runner import Verdict, judge_definitions, run
from processors.core.rules.context import Context


def judged(draft: Draft) -> tuple[Verdict, WfRunFound | None]:
    """Return the verdict on a document, as `halter scenario run` gives it, and the WfRun at its end."""
    file = parse_yaml(draft.text, draft.name)
    scenario, problems = read_scenario(file.data, no_file)
    if scenario is None:
        return Verdict(0, "; ".join(map(str, problems))), None
    definitions, refused = register(scenario.definitions)
    engine = MemoryEngine(Context(definitions, scenario.limits), scenario.start_ms)
    verdict = judge_definitions(scenario, refused) or run(scenario, engine, definitions)
    return verdict, engine.find(draft.wf_run_id)


def without_derived_tokens(draft: Draft, run: WfRunFound) -> Draft:
    """Return a document that does not expect a Variable whose recorded value is a token, if another one comes of it.

    A value that is computed from a masked value has a token of its own.
    """
    outcome = []
    for step in draft.outcome:
        expected = step["expect"]
        if "variables" in expected:
            kept = {
                number: {
                    name: value
                    for name, value in told.items()
                    if (number, name) not in draft.tokens or not _differs(run, number, name, value)
                }
                for number, told in expected["variables"].items()
            }
            expected = expected | {"variables": {number: told for number, told in kept.items() if told}}
        outcome.append({"expect": expected})
    return replace(draft, outcome=outcome)


def _differs(run: WfRunFound, number: int, name: str, value: Any) -> bool:
    thread = run.thread(number)
    return thread is not None and any(found.differences({name: value}, thread.variables))


@dataclass(frozen=True, slots=True)
class Made:
    """A document, and what these rules say of it."""

    draft: Draft
    masked: bool
    """True if tokens stand in the place of masked values."""
    problem: str | None
    """What these rules decide otherwise than it was recorded; None if nothing."""


def made(source: Source, wf_run_id: str, folder: Path, wanted: Wanted = ALL, *, unmask: bool = False) -> Made:
    """Return the document for the last WfRun of an id. Raises NoScenario, and what `source` raises.

    Unless `unmask` is given, tokens take the place of masked values, in an export in `folder` that is read back.
    """
    if isinstance(source, ExportFile) and source.is_masked:
        return _with_tokens(source, None, wf_run_id, wanted)
    if unmask:
        draft = scenario_of(source, wf_run_id, wanted)
        return Made(draft, masked=False, problem=judged(draft)[0].problem)
    file = folder / "masked.halter"
    if not export(source, [wf_run_id], file, 0).masked:
        return made(source, wf_run_id, folder, wanted, unmask=True)
    with ExportFile(file) as masked:
        return _with_tokens(masked, source, wf_run_id, wanted)


def _with_tokens(masked: Source, clear: Source | None, wf_run_id: str, wanted: Wanted) -> Made:
    draft = scenario_of(masked, wf_run_id, wanted)
    verdict, end = judged(draft)
    if end is not None and not verdict.ok:
        draft = without_derived_tokens(draft, end)
        verdict, _ = judged(draft)
    if verdict.problem is not None:
        if clear is not None:
            with_values, _ = judged(scenario_of(clear, wf_run_id, wanted))
            if with_values.problem is None:
                raise NoScenario(
                    f"a rule looked at a masked value, and decides otherwise with a token in its place: "
                    f"{verdict.problem}. --unmask writes the values"
                )
        else:
            raise NoScenario(
                f"this export has tokens in the place of masked values, and with them these rules give something else "
                f"than was recorded: {verdict.problem}. `halter export --clear` keeps the values"
            )
    return Made(draft, masked=True, problem=verdict.problem)


def write(told: Made, where: str, file: Path | None) -> str:
    """Return the text of a document with where it comes from, and write it to a file, which appears when complete.

    Raises CannotWrite.
    """
    masked = " Tokens stand in the place of masked values." if told.masked else ""
    whose = json.dumps(told.draft.wf_run_id, ensure_ascii=True)
    text = f"# The history of WfRun {whose} {json.dumps(where)[1:-1]}, by halter {version(DISTRIBUTION)}.{masked}\n"
    text += told.draft.text
    if file is not None:
        with whole_file(file) as stream:
            stream.write(text.encode())
    return text

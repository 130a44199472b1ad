"""The bytes that a released version wrote: every record of the scenarios, in and out, recorded once with its own code.

    python -m tests.support.released 0.2.0      records tests/released/0.2.0.jsonl.gz, when 0.2.0 is released

Each line is a JSON object for one scenario document: its name, and its turns in order, each with the records that were
folded and those that came of them. Later versions must read all of it (`tests/fold/test_released.py`).
"""

import base64
import gzip
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from halter.files.scenario import Scenario
from halter.files.scenario_document import read_scenario
from halter.files.yaml_files import read_yaml
from halter.scenarios.definitions import register
from halter.scenarios.memory import MemoryEngine
from halter.scenarios.runner import run
from processors.core.records.commands import Command, DefinitionCommand
from processors.core.records.events import DefinitionProblem, LogEntry
from processors.core.rules.context import Context, Limits
from processors.fold.inputs import InputRecord
from tests.support.shard_rig import START_MS, ShardRig

TESTS = Path(__file__).parent.parent
RELEASED = TESTS / "released"


@dataclass(frozen=True)
class Output:
    """A record that a turn wrote. `value` is None for a tombstone."""

    topic: str
    key: bytes | None
    value: bytes | None


@dataclass(frozen=True)
class ReleasedTurn:
    """The records that were folded at once, and those that came of them."""

    inputs: Sequence[InputRecord]
    outputs: Sequence[Output]


@dataclass(frozen=True)
class ReleasedRun:
    """One scenario, as a released version ran it."""

    version: str
    scenario: str
    limits: Limits
    queues: Sequence[str]
    turns: Sequence[ReleasedTurn]


class _Timed(MemoryEngine):
    """An engine that notes when each command arrived."""

    def __init__(self, context: Context, start_ms: int) -> None:
        super().__init__(context, start_ms)
        self.arrived: list[tuple[int, Command | DefinitionCommand]] = []

    def put(self, command: Command) -> list[LogEntry]:
        self.arrived.append((self.time_ms, command))
        return super().put(command)

    def register(self, commands: Sequence[DefinitionCommand]) -> list[DefinitionProblem]:
        self.arrived.extend((self.time_ms, command) for command in commands)
        return super().register(commands)


def versions() -> list[str]:
    """Return the versions that have a recording."""
    return sorted(path.name.removesuffix(".jsonl.gz") for path in RELEASED.glob("*.jsonl.gz"))


def recording(version: str) -> Iterator[ReleasedRun]:
    """Return what a version wrote, scenario by scenario."""
    with gzip.open(RELEASED / f"{version}.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            document = json.loads(line)
            yield ReleasedRun(
                version,
                document["scenario"],
                Limits(**document["limits"]),
                document["queues"],
                [
                    ReleasedTurn(
                        [
                            InputRecord(topic, 0, offset, time_ms, _bytes(key), _bytes(value))
                            for topic, offset, time_ms, key, value in turn["inputs"]
                        ],
                        [Output(topic, _bytes(key), _bytes(value)) for topic, key, value in turn["outputs"]],
                    )
                    for turn in document["turns"]
                ],
            )


def record(path: Path) -> dict[str, Any] | None:
    """Run a scenario document, and return its line; None if its definitions are refused on purpose."""
    scenario, problems = read_scenario(read_yaml(path).data, lambda file: file)
    assert scenario is not None, problems
    definitions, refused = register(scenario.definitions)
    if refused:
        return None
    engine = _Timed(Context(definitions, scenario.limits), scenario.start_ms)
    verdict = run(scenario, engine, definitions)
    assert verdict.ok, verdict.problem
    queues = scenario.queues
    turns = list(_turns(scenario, engine.arrived, ShardRig(scenario.limits, queues)))
    return {"scenario": path.stem, "limits": asdict(scenario.limits), "queues": queues, "turns": turns}


def _turns(scenario: Scenario, arrived: Sequence[tuple[int, Any]], rig: ShardRig) -> Iterator[dict[str, Any]]:
    timed: list[tuple[int, Any]] = [(START_MS, definition) for definition in scenario.definitions]
    for time_ms, command in [*timed, *arrived]:
        rig.now_ms = time_ms
        folded, written = len(rig.inputs), len(rig.outputs)
        rig.turn(command)
        yield {
            "inputs": [
                [it.topic, it.offset, it.timestamp_ms, _text(it.key), _text(it.value)] for it in rig.inputs[folded:]
            ],
            "outputs": [[it.topic, _text(it.key), _text(it.value)] for it in rig.outputs[written:]],
        }


def _text(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


def main(version: str) -> None:
    """Record the scenarios of this checkout as those of a version."""
    lines = [line for path in sorted((TESTS / "scenarios").glob("*.yaml")) if (line := record(path)) is not None]
    RELEASED.mkdir(exist_ok=True)
    # The file has no name and no time in it, so recording again gives the same bytes.
    with (RELEASED / f"{version}.jsonl.gz").open("wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as zipped:
        for line in lines:
            zipped.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
    print(f"{len(lines)} scenarios, {sum(len(line['turns']) for line in lines)} turns")


if __name__ == "__main__":
    main(sys.argv[1])

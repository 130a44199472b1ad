"""Decides with the rules of another version of Halter, in a process of its own.

Both sides of a line protocol: one JSON document a line, bytes in base64. It has a version. Side one begins:

    {"protocol": 1, "partition": 3, "partitions": 8, "properties": {…}, "file": …}
                       {"protocol": 1, "version": "0.3.0", "home": "/checkout", "rules": 3, "changes": [{…}, …],
                        "keys": true}
    {"define": [offset, key, value]}
    {"restore": [topic, key, value]}
    {"decide": [[…], …]}                 {"outcomes": [[[[key, value], …], raised, lacks_definition, dead_letter], …]}

A version takes part from the first one on that has this module. What is added to a line later has a default.
"""

import json
import os
import subprocess
import sys
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Final, NoReturn

from halter.history.deciding import OURS, Deciding, Entry, Outcome, Row, Rules, Step
from processors.core.records.errors import HalterError
from processors.core.rules.versions import RuleChange
from processors.fold.inputs import InputRecord
from processors.kafka.settings import Settings

PROTOCOL: Final = 1
MODULE: Final = "halter.history.other_rules"
DISTRIBUTION: Final = "halter-kafka"


class RulesNotThere(HalterError):
    """There is no version of Halter that can decide at a path. Whoever typed the path corrects it."""


class RulesEnded(HalterError):
    """The process that decides with other rules has ended. Look at what it said."""


class OtherRules:
    """Decides in another process. Implements `Decider`. Close it in the end."""

    def __init__(
        self, path: Path, partition: int, partitions: int, properties: Mapping[str, str] | None = None
    ) -> None:
        """`path` is a checkout, an environment, or the Python of one. `properties` are those of a Schema Registry.

        Raises RulesNotThere.
        """
        self._path, self._properties = path, dict(properties or {})
        python, home = interpreter_of(path)
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        if home is not None:
            environment["PYTHONPATH"] = str(home)
        self._errors = TemporaryFile()  # noqa: SIM115  closed with the process
        # -P: the folder in which this command runs may be a checkout too.
        self._process = subprocess.Popen(
            [python, "-P", "-m", MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
            text=True,
            encoding="utf-8",
        )
        hello = {"protocol": PROTOCOL, "partition": partition, "partitions": partitions}
        try:
            self._say({**hello, "properties": self._properties})
            found = self._hear()
        except RulesEnded as ended:
            self.close()
            raise RulesNotThere(
                f"{path}: expected a version of Halter that has `halter verify`, found none that answers: {ended}"
            ) from ended
        if found.get("protocol") != PROTOCOL:
            self.close()
            raise RulesNotThere(f"{path}: expected protocol {PROTOCOL} of `halter verify`, found {found!r}")
        self.version = str(found.get("version"))
        """What decides, for people."""
        self.rules = Rules(found.get("rules"), tuple(_read_change(it) for it in found.get("changes", ())))
        """The rules by which it decides."""
        self.decides_keys = found.get("keys") is True
        """False if it is from before keys were decided again."""
        if home is not None and Path(str(found.get("home"))) != home:
            self.close()
            raise RulesNotThere(f"{path}: expected the Halter of that checkout to run, found that of {found['home']}")

    def define(self, offset: int, row: Row) -> None:
        """Take the next record of `definitions`."""
        self._say({"define": [offset, *_row(row)]})

    def restore(self, topic: str, row: Row) -> None:
        """Take a row of the state from which to begin."""
        self._say({"restore": [topic, *_row(row)]})

    def decide(self, steps: Sequence[Step]) -> Sequence[Outcome]:
        """Decide the next inputs. Raises RulesEnded."""
        self._say({"decide": [_step(step) for step in steps]})
        return [
            Outcome([Entry(_bytes(key), _bytes(value)) for key, value in entries], raised, lacks, dead_letter)
            for entries, raised, lacks, dead_letter in self._hear()["outcomes"]
        ]

    def close(self) -> None:
        """End the process."""
        for stream in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                _not_none(stream).close()
        self._process.terminate()
        self._process.wait()
        self._errors.close()

    def _say(self, line: Mapping[str, Any]) -> None:
        stream = _not_none(self._process.stdin)
        try:
            stream.write(json.dumps(line) + "\n")
            stream.flush()
        except OSError:
            self._raise_ended()

    def _hear(self) -> dict[str, Any]:
        line = _not_none(self._process.stdout).readline()
        if not line:
            self._raise_ended()
        try:
            heard = json.loads(line)
        except ValueError:
            heard = None
        if not isinstance(heard, dict):
            raise RulesEnded(f"{self._path}: expected a line of the protocol, found {line[:80]!r}")
        return heard

    def _raise_ended(self) -> NoReturn:
        code = self._process.wait()
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip().splitlines()
        last = f", its last line is: {said[-1]}" if said else ""
        raise RulesEnded(f"{self._path}: its process ended with code {code}{last}")


def interpreter_of(path: Path) -> tuple[str, Path | None]:
    """Return the Python to run, and the checkout to run, if it is one. Raises RulesNotThere."""
    own = Path("Scripts/python.exe") if sys.platform == "win32" else Path("bin/python")
    if path.is_file():
        return str(path.absolute()), None
    if (path / "processors" / "core").is_dir():
        environment = path / ".venv" / own
        return (str(environment) if environment.exists() else sys.executable), path.resolve()
    if (path / own).exists():
        return str(path.absolute() / own), None
    raise RulesNotThere(
        f"{path}: expected a checkout of Halter, an environment in which it is installed, or the Python of one, found "
        + ("none of these" if path.exists() else "nothing")
    )


def serve(said: IO[str], answers: IO[str]) -> None:
    """Be the other side, until there are no more lines."""
    hello = json.loads(said.readline())
    properties = hello.get("properties") or {}
    codec = Settings.load(None, {}, properties).codec()
    deciding = Deciding(hello["partition"], hello["partitions"], codec)
    home = Path(__file__).resolve().parents[2]
    try:
        name = version(DISTRIBUTION)
    except PackageNotFoundError:
        name = "unknown"
    rules = {"rules": OURS.number, "changes": [asdict(change) for change in OURS.changes]}
    _answer(answers, {"protocol": PROTOCOL, "version": name, "home": str(home), "keys": True, **rules})
    for line in said:
        ((what, given),) = json.loads(line).items()
        if what == "define":
            deciding.define(given[0], _read_row(given[1:]))
        elif what == "restore":
            deciding.restore(given[0], _read_row(given[1:]))
        else:
            outcomes = deciding.decide([_read_step(it) for it in given])
            _answer(answers, {"outcomes": [_outcome(outcome) for outcome in outcomes]})


def _answer(answers: IO[str], line: Mapping[str, Any]) -> None:
    answers.write(json.dumps(line) + "\n")
    answers.flush()


def _text(data: bytes | None) -> str | None:
    return None if data is None else b64encode(data).decode()


def _bytes(text: str) -> bytes:
    return b64decode(text)


def _maybe(text: str | None) -> bytes | None:
    return None if text is None else b64decode(text)


def _row(row: Row) -> list[str | None]:
    return [_text(row.key), _text(row.value)]


def _read_row(given: Sequence[str | None]) -> Row:
    return Row(_maybe(given[0]) or b"", _maybe(given[1]))


def _read_change(given: Mapping[str, Any]) -> RuleChange:
    """Return a change of the rules, without what later versions say besides."""
    known = {it.name: given[it.name] for it in fields(RuleChange) if it.name in given}
    return RuleChange(**known | {"fields": tuple(known.get("fields", ()))})


def _record(record: InputRecord) -> list[Any]:
    headers = [[name, _text(value)] for name, value in record.headers]
    return [*record[:4], _text(record.key), _text(record.value), headers]


def _read_record(given: Sequence[Any]) -> InputRecord:
    headers = tuple((name, _bytes(value)) for name, value in given[6])
    return InputRecord(given[0], given[1], given[2], given[3], _maybe(given[4]), _maybe(given[5]), headers)


def _step(step: Step) -> list[Any]:
    definitions = [_row(row) for row in step.definitions]
    coming = [_record(record) for record in step.coming]
    return [_record(step.record), step.definitions_position, step.is_logged, coming, definitions]


def _read_step(given: Sequence[Any]) -> Step:
    record, coming, definitions = _read_record(given[0]), map(_read_record, given[3]), map(_read_row, given[4])
    return Step(record, given[1], given[2], tuple(coming), tuple(definitions))


def _outcome(outcome: Outcome) -> list[Any]:
    entries = [[_text(entry.key), _text(entry.value)] for entry in outcome.entries]
    return [entries, outcome.raised, outcome.lacks_definition, outcome.dead_letter]


def _not_none(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


if __name__ == "__main__":
    serve(sys.stdin, sys.stdout)

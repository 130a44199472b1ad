"""What today's rules decide for the inputs of the newest release, as a digest for each scenario that it ran.

    python -m tests.support.rule_outcomes      says which scenarios are decided otherwise than the file says
    python -m tests.support.rule_outcomes --write

`tests/released/outcomes.json` has the digests, and the version of the rules that decided. The inputs never change, so
another digest means that a rule has changed. The file is only written again for a later version of the rules, or for
scenarios that it does not have.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import Enum
from typing import Any

from processors.core.rules.versions import RULES
from tests.support.released import RELEASED, ReleasedRun, recording, versions
from tests.support.shard_rig import ShardRig

FILE = RELEASED / "outcomes.json"
DIGITS = 16


@dataclass(frozen=True)
class Outcomes:
    """What a version of the rules decides."""

    rules: int
    release: str
    """The release whose inputs are decided."""
    digests: Mapping[str, str]
    """Scenario -> the digest of its events."""

    def otherwise(self, other: "Outcomes") -> list[str]:
        """Return the scenarios that both have, and that have another outcome there."""
        return [name for name, digest in self.digests.items() if other.digests.get(name, digest) != digest]


def today() -> Outcomes:
    """Decide, and return the outcomes."""
    release = versions()[-1]
    return Outcomes(RULES, release, {run.scenario: digest_of(run) for run in recording(release)})


def digest_of(run: ReleasedRun) -> str:
    """Return the digest of the events that today's rules decide for the inputs of a scenario."""
    rig = ShardRig(run.limits, run.queues)
    events = [told(entry) for turn in run.turns for entry in rig.log(*turn.inputs)]
    return hashlib.sha256(json.dumps(events, sort_keys=True).encode()).hexdigest()[:DIGITS]


def told(value: Any) -> Any:
    """Return a value as JSON data. A field that has its default is left out, as if there was none yet."""
    if is_dataclass(value) and not isinstance(value, type):
        given = {it.name: getattr(value, it.name) for it in fields(value) if getattr(value, it.name) != default_of(it)}
        return {"": type(value).__name__} | {name: told(item) for name, item in given.items()}
    if isinstance(value, dict):
        return {str(key): told(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [told(item) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    return value.value if isinstance(value, Enum) else value


def default_of(field: Any) -> Any:
    """Return the default of a field; MISSING if it has none."""
    return field.default if field.default_factory is MISSING else field.default_factory()


def recorded() -> Outcomes:
    """Return the outcomes that the file has."""
    document = json.loads(FILE.read_text(encoding="utf-8"))
    return Outcomes(document["rules"], document["release"], document["digests"])


def write(outcomes: Outcomes) -> None:
    """Write the file."""
    document = {"rules": outcomes.rules, "release": outcomes.release, "digests": dict(sorted(outcomes.digests.items()))}
    FILE.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def main() -> int:
    """Compare the outcomes with the file, or write it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--write", action="store_true", help="write the file")
    wanted, found = parser.parse_args().write, today()
    before = recorded() if FILE.exists() else Outcomes(0, found.release, {})
    otherwise = before.otherwise(found) if before.release == found.release else []
    for name in otherwise:
        print(f"decided otherwise than by rules {before.rules}: {name}")
    if otherwise and before.rules >= found.rules:
        print(f"expected rules later than {before.rules}: add a change to processors/core/rules/versions.py")
        return 1
    if wanted:
        write(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())

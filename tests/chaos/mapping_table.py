"""`python -m tests.chaos.mapping_table FILE...`: writes a table into docs/reliability.md, of attacks on mappings.

The files are those that `tests.chaos.bindings --results` has written: a line of JSON for each run. Runs of a fault are
summed. Knows the page and its marks; judges nothing.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from docs.made import between
from tests.chaos.bindings import FAULTS, Outcome, summed

PAGE: Final = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN: Final = "<!-- attacks on bindings and sinks: computed -->\n"
END: Final = "<!-- attacks on bindings and sinks: end -->\n"
HEADS: Final = {"bindings": "bindings", "correlated": "by key, with workers", "sinks": "sinks, with workers"}
"""What is attacked -> its columns."""
CELLS: Final = ("runs", "effects", "lost", "doubled")


def read(files: Iterable[Path]) -> Iterator[tuple[str, Outcome]]:
    """Yield what was attacked, and what came of it, for each run."""
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            fields = json.loads(line)
            yield fields.pop("of"), Outcome(**fields)


def table(runs: Iterable[tuple[str, Outcome]]) -> str:
    """Return the sums as Markdown, with a row for each fault, and sentences on order and on runs without verdict."""
    by_subject: dict[str, list[Outcome]] = {it: [] for it in HEADS}
    for of, outcome in runs:
        by_subject[of].append(outcome)
    sums = {of: {it.name: it for it in summed(outcomes)} for of, outcomes in by_subject.items()}
    columns = [f"{HEADS[of]}: runs" if cell == "runs" else cell for of in HEADS for cell in CELLS]
    rows = [f"| Fault | {' | '.join(columns)} |", f"|---|{'--:|' * len(columns)}"]
    rows += [row(name, {of: found[name] for of, found in sums.items() if name in found}) for name in FAULTS]
    found = [it for outcomes in by_subject.values() for it in outcomes]
    displaced, silent = sum(it.displaced for it in found), sum(it.without_verdict for it in found)
    else_wrong = sum(bool(it.problems) for it in found if it.runs and not it.lost + it.doubled + it.displaced)
    told = f"Out of order: {displaced}. Otherwise not as promised: {else_wrong} runs. Without a verdict: {silent} runs."
    return "\n".join([*rows, "", told, ""])


def row(name: str, found: Mapping[str, Outcome]) -> str:
    """Return the row of a fault. What never came to a verdict under it has empty cells."""
    cells: list[str] = []
    for of in HEADS:
        it = found.get(of)
        cells += [f"{number:,}" for number in numbers_of(it)] if it is not None and it.runs else [""] * len(CELLS)
    return f"| {FAULTS[name].text} | {' | '.join(cells)} |"


def numbers_of(it: Outcome) -> tuple[int, ...]:
    return it.runs, it.effects, it.lost, it.doubled


def main(*files: Any) -> None:
    """Write the table."""
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(between(text, BEGIN, END, f"\n{table(read(map(Path, files)))}\n"), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])

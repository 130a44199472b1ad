"""The verdict on a tape: everything that Halter promises of a log, checked without the code that wrote it.

python -m tests.chaos.verdict EVIDENCE/tape.pickle.gz     judge a run again
"""

import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.cancelling import check_cancellations
from tests.chaos.findings import Finding, Kind
from tests.chaos.folding import FoldedLog, check_positions
from tests.chaos.following import check_rows_follow
from tests.chaos.outcomes import blocks_of, check_aborted, check_outcomes, check_seq
from tests.chaos.redeciding import check_decisions
from tests.chaos.tape import DEAD_LETTERS, INPUTS, TASK_CANCELLATIONS, TASK_REQUESTS, Tape, entries
from tests.chaos.timers import check_requests, check_timers

SHOWN = 20


@dataclass(frozen=True)
class Verdict:
    """The numbers of things that were checked, and everything that is wrong."""

    inputs: int
    events: int
    accepted: int
    refused: int
    dead_letters: int
    wf_runs: int
    task_requests: int
    task_cancellations: int
    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Return True if nothing is wrong."""
        return not self.findings

    def count(self, kind: Kind) -> int:
        """Return how often a promise was broken."""
        return sum(finding.kind is kind for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Return the verdict as data for a file."""
        return {
            **{name: getattr(self, name) for name in self.__dataclass_fields__ if name != "findings"},
            "findings": [str(finding) for finding in self.findings],
        }

    def __str__(self) -> str:
        kinds = Counter(finding.kind for finding in self.findings)
        head = (
            f"{self.inputs} inputs ({self.accepted} accepted, {self.refused} refused, {self.dead_letters} dead "
            f"letters), {self.events} events, {self.wf_runs} WfRuns: "
        )
        if not kinds:
            return head + "0 lost, 0 doubled, 0 out of order, nothing else wrong"
        wrong = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        return "\n  ".join([head + wrong, *map(str, self.findings[:SHOWN])])


def judge(tape: Tape, *, decide_again: bool = True) -> Verdict:
    """Check everything. Without `decide_again` decisions are not checked: other versions may have other rules."""
    log = list(entries(tape))
    blocks = blocks_of(log)
    folded = FoldedLog(log)
    findings = [
        *check_outcomes(tape, blocks),
        *check_aborted(tape),
        *check_seq(log),
        *folded.findings,
        *folded.check_rows(tape),
        *check_rows_follow(tape, log),
        *check_positions(tape, log),
        *(check_decisions(tape, blocks) if decide_again else ()),
        *check_requests(tape, log),
        *check_cancellations(tape, log, all_told=decide_again),
        *check_timers(tape, blocks),
        *folded.check_unfired(tape),
    ]
    refused = sum(block.refused for block in blocks)
    return Verdict(
        inputs=sum(1 for topic in INPUTS for _ in tape.of(topic)),
        events=len(log),
        accepted=len(blocks) - refused,
        refused=refused,
        dead_letters=sum(1 for _ in tape.of(DEAD_LETTERS)),
        wf_runs=sum(entry.name == "WfRunStarted" for entry in log),
        task_requests=sum(1 for _ in tape.of(TASK_REQUESTS)),
        task_cancellations=sum(1 for _ in tape.of(TASK_CANCELLATIONS)),
        findings=findings,
    )


def main() -> None:
    """Judge a tape that was saved."""
    verdict = judge(Tape.load(Path(sys.argv[1])))
    print(verdict)
    sys.exit(0 if verdict.ok else 1)


if __name__ == "__main__":
    main()

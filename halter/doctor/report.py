"""The report of a checkup: as lines for people, and as data for programs. Knows no Kafka."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from typing import Any, Final

from halter.doctor.checkup import CONNECTION, Checkup
from halter.doctor.findings import ORDER, Finding, Verdict, worst
from halter.show.wrapping import printable, wrapped

Style = Callable[[str, Verdict], str]
"""Gives a word the colour of a verdict."""

VERDICT_WIDTH: Final = max(len(it) for it in Verdict) + 2
NOT_ON_A_TERMINAL: Final = 100_000


def lines(checkup: Checkup, style: Style, width: int | None, *, all_of_it: bool) -> Iterator[str]:
    """Yield the report. Without `all_of_it`, checks that were skipped are named in one line."""
    room = width or NOT_ON_A_TERMINAL
    # That Kafka does not answer is the error with which the command ends.
    examined = [it for it in checkup.examined if checkup.unreachable is None or it.check != CONNECTION]
    if all(finding.verdict is Verdict.SKIPPED for one in examined for finding in one.findings):
        return
    name_width = max(len(it.check) for it in examined) + 2
    hanging = " " * (VERDICT_WIDTH + name_width)
    skipped = []
    for one in examined:
        name = one.check
        findings = sorted(one.findings, key=lambda it: -ORDER.index(it.verdict))
        for finding, following in zip_longest(findings, findings[1:]):
            if finding.verdict is Verdict.SKIPPED and not all_of_it:
                skipped.append(name)
                continue
            word = finding.verdict.ljust(VERDICT_WIDTH)
            first, *others = wrapped(
                printable(finding.found), room, indent=word + name.ljust(name_width), hanging=hanging
            )
            yield style(word, finding.verdict) + first[VERDICT_WIDTH:]
            yield from others
            # One mend often serves several findings: it stands behind the last of them.
            if finding.mend is not None and (following is None or following.mend != finding.mend):
                yield from wrapped(printable(finding.mend), room, indent=f"{hanging}-> ", hanging=f"{hanging}   ")
            name = ""
    if skipped:
        word = Verdict.SKIPPED.ljust(VERDICT_WIDTH)
        said = f"{', '.join(dict.fromkeys(skipped))} (--all says why)"
        first, *others = wrapped(said, room, indent=word, hanging=" " * VERDICT_WIDTH)
        yield style(word, Verdict.SKIPPED) + first[VERDICT_WIDTH:]
        yield from others
    yield ""
    yield from wrapped(summary(checkup), room)


def summary(checkup: Checkup) -> str:
    """Return one sentence about all of it."""
    counts = Counter(finding.verdict for one in checkup.examined for finding in one.findings)
    said = ", ".join(f"{counts[it]} {it}" for it in reversed(ORDER) if counts[it] and it is not Verdict.SKIPPED)
    return f"{said}, in {checkup.took_s:.1f} s"


def data(checkup: Checkup, **more: Any) -> dict[str, Any]:
    """Return the report as data for JSON."""
    return {
        **more,
        "verdict": str(worst(checkup.examined)),
        "took_ms": round(checkup.took_s * 1_000),
        "checks": [{"check": it.check, "findings": _findings(it.findings)} for it in checkup.examined],
        "not_looked_at": list(checkup.not_looked_at),
    }


def _findings(found: Sequence[Finding]) -> list[dict[str, Any]]:
    return [{"verdict": str(it.verdict), "found": it.found, "mend": it.mend, "data": dict(it.data)} for it in found]

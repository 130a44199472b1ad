"""WfRuns as a table for a terminal, and as plain data. Knows what a list of the view has, and not where it comes from.

    WfRun    WfSpec    Status   What                               Since
    cart-1   cart:0.1  HALTED   held by MANUAL_HALT                3 min
    cart-2   cart:0.1  RUNNING  waits for checkout                 2 h
    order-9  shop:0.0  ERROR    TASK_FAILURE: the stock is closed  1 d

Where the columns do not fit, ids and words are cut with a `…`. Piped, nothing is cut.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any, Final, NamedTuple

from rich.cells import cell_len, set_cell_size

from halter.show.times import iso, span
from halter.show.wrapping import printable
from halter.view.dead_letter_lists import DeadLetterLine
from halter.view.wf_run_lines import HaltLine, WaitLine, WfRunLine

GAP: Final = "  "
HEADINGS: Final = ("WfRun", "WfSpec", "Status", "What", "Since")
ID_MIN, SPEC_MIN, WHAT_MIN = 12, 8, 14
"""The fewest cells that a column keeps."""
STATUS_STYLES: Final = {"ERROR": "red", "EXCEPTION": "red", "HALTED": "yellow", "COMPLETED": "bright_black"}
"""Status -> colour. What runs has none."""


class Cells(NamedTuple):
    """The texts of one line."""

    wf_run: str
    wf_spec: str
    status: str
    what: str
    since: str


def cells_of(line: WfRunLine, now_ms: int) -> Cells:
    """Return the texts for a WfRun. Spans of time end now."""
    what, since_ms = what_and_since(line)
    spec = f"{line.wf_spec_name}:{line.wf_spec_version}" if line.wf_spec_name else "-"
    since = "" if since_ms is None else age(now_ms - since_ms)
    return Cells(*map(printable, (line.wf_run_id, spec, line.status or "-", what, since)))


def what_and_since(line: WfRunLine) -> tuple[str, int | None]:
    """Return why a WfRun is where it is, in a few words, and since when."""
    quarantine = "in quarantine" if line.quarantined else ""
    if line.ended_ms is not None:
        because = f" ({line.cause_code})" if line.cause_code else ""
        failure = f"{line.failure_code or ''}{because}"
        message = f": {line.failure_message}" if failure and line.failure_message else ""
        return _joined(quarantine, f"{failure}{message}"), line.ended_ms
    if line.halt_reasons:
        first = line.halt_reasons[0]
        more = len(line.halt_reasons) - 1
        return _joined(quarantine, f"held by {held_text(first)}{_more(more)}"), first.since_ms or line.changed_ms
    if line.waits:
        wait = line.waits[0]
        text = f"{wait_text(wait)}{_more(len(line.waits) - 1)}"
        return _joined(quarantine, text), wait.since_ms or line.changed_ms
    return _joined(quarantine, f"at {line.node_name}" if line.node_name else ""), line.changed_ms


def age(milliseconds: int) -> str:
    """Return a span of time in its largest unit: `42 min`."""
    return " ".join(span(max(milliseconds, 0)).split(" ")[:2])


def held_text(reason: HaltLine) -> str:
    """Return a halt reason in words: `INTERRUPTED by thread 3`."""
    event = f" {reason.external_event_def} {reason.external_event_id}" if reason.external_event_def else ""
    by = f" #{reason.handler}" if reason.handler is not None else ""
    parent = f" of #{reason.by_thread}" if reason.by_thread is not None else ""
    return f"{reason.kind}{event}{by}{parent}{_thread(reason.thread)}"


WAIT_WORDS: Final = {
    "EXTERNAL_EVENT": "waits for {name}",
    "TASK_REPORT": "waits for task {name}{attempt}",
    "TASK_RETRY": "backs off before task {name}{attempt}",
    "TIME": "sleeps",
    "CONDITION": "waits until {condition}",
    "THREADS": "waits for threads",
    "ROOM": "waits for room for failure handlers",
    "CHILDREN": "waits for its children",
    "HANDLERS_BESIDE": "waits for handlers beside it",
    "OTHERS": "stays for other threads",
    "STILLNESS": "waits for threads to stand still",
    "RUN": "goes on",
}


def wait_text(wait: WaitLine) -> str:
    """Return what a thread waits for, in words."""
    attempt = "" if wait.attempt is None else f", attempt {wait.attempt} of {wait.attempts}"
    words = WAIT_WORDS.get(wait.waits_for, wait.waits_for)
    return words.format(name=wait.name, attempt=attempt, condition=wait.condition) + _thread(wait.thread)


def _thread(number: int) -> str:
    return f" (thread {number})" if number else ""


def _more(number: int) -> str:
    return f", and {number} more" if number > 0 else ""


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


class WfRunTable:
    """Lines of WfRuns that come page by page. The columns are as wide as the first page needs."""

    def __init__(self, width: int | None, now_ms: int) -> None:
        """`width`: that of the terminal; None where nothing is cut."""
        self._width, self._now_ms = width, now_ms
        self._widths: Sequence[int] | None = None

    def lines(self, page: Iterable[WfRunLine]) -> Iterator[tuple[str, str]]:
        """Yield lines, each with its colour; the first is the heading. An empty colour is none."""
        rows = [(it, cells_of(it, self._now_ms)) for it in page]
        if self._widths is None:
            self._widths = self._fitted([HEADINGS, *(cells for _, cells in rows)])
            yield self._line(HEADINGS), "bold"
        for line, cells in rows:
            yield self._line(cells), STATUS_STYLES.get(line.status or "", "")

    def _fitted(self, rows: Sequence[Sequence[str]]) -> list[int]:
        """Return the widths of the columns: what they need, or what there is of it."""
        ids, specs, statuses, whats, since = (max(map(cell_len, column)) for column in zip(*rows, strict=True))
        if self._width is None:
            return [ids, specs, statuses, whats, since]
        room = max(self._width - len(GAP) * 4 - statuses - since, ID_MIN + SPEC_MIN + WHAT_MIN)
        over = ids + specs + whats - room
        for least, index in ((WHAT_MIN * 2, 2), (ID_MIN * 2, 0), (WHAT_MIN, 2), (SPEC_MIN, 1), (ID_MIN, 0)):
            widths = [ids, specs, whats]
            given = min(max(over, 0), max(widths[index] - least, 0))
            widths[index] -= given
            over -= given
            ids, specs, whats = widths
        return [ids, specs, statuses, whats, since]

    def _line(self, cells: Sequence[str]) -> str:
        assert self._widths is not None
        return GAP.join(map(fitted, cells, self._widths)).rstrip()


def fitted(text: str, width: int) -> str:
    """Return a text in so many cells: filled up with spaces, or cut with a `…`."""
    over = cell_len(text) - width
    if over <= 0:
        return text + " " * -over
    return set_cell_size(text, max(width - 1, 0)).rstrip() + "…"


def columns(rows: Sequence[Sequence[str]], width: int | None) -> Iterator[str]:
    """Yield rows in columns that fit them. The last one has what is left of the width, and is cut."""
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    if width is not None:
        widths[-1] = max(min(widths[-1], width - sum(widths[:-1]) - len(GAP) * (len(widths) - 1)), 1)
    for row in rows:
        yield GAP.join(map(fitted, row, widths)).rstrip()


def plain_data(line: WfRunLine | DeadLetterLine) -> dict[str, Any]:
    """Return a line of a list as plain JSON data. Times are ISO 8601, under names without `_ms`."""
    return _data(asdict(line))


def _data(fields: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for name, value in fields.items():
        if name.endswith("_ms"):
            told[name.removesuffix("_ms")] = None if value is None else iso(value)
        elif isinstance(value, tuple):
            told[name] = [_data(it) for it in value]
        else:
            told[name] = value
    return told

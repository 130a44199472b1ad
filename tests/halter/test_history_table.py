"""`halter history` prints a table that fits a terminal, or else one whole line for each event."""

import io
import json
import re
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from halter.cli import history, printing
from halter.client.history import History
from halter.files.definition_files import read_definition_file
from halter.show.history_table import (
    ARROW,
    CHUNK,
    ID_LENGTH_MAX,
    KINDS,
    LINES_MAX,
    ROOMY,
    SAME_CAUSE,
    STACKED,
    WIDTH_MIN,
    HistoryTable,
    print_legend,
    print_table,
)
from halter.show.wrapping import wrapped
from processors.core.records.commands import ExternalEvent, RunWf, StopWfRun
from processors.core.records.events import Event, LogEntry
from tests.support.shard_rig import ShardRig
from tests.support.stored_records import RigClient, printed

CART = Path(__file__).parents[2] / "examples" / "cart" / "cart.yaml"
TIME_WIDTH = len("00:00:00.000")
LONG_ID = "7b1c9a0e5f7d4b6d8c1b2a3f4e5d6c7b"
SHORT_ID = "7b1c9a0e…"
DAY_MS = 24 * 60 * 60 * 1000


@pytest.fixture
def client() -> RigClient:
    rig = ShardRig()
    rig.turn(*read_definition_file(CART).commands)
    rig.turn(ExternalEvent("c1", "page-seen", "early", "/"))
    rig.turn(RunWf("c1", "cart", {"customer": "Ann Ångström 安娜·安格斯特伦 " * 3, "card": "4711"}))
    rig.now_ms += 4_210
    rig.turn(ExternalEvent("c1", "address-changed", LONG_ID, "東京都千代田区丸の内 " * 8))
    rig.turn(ExternalEvent("c1", "address-changed", LONG_ID, "again"))
    rig.turn(StopWfRun("c1"), StopWfRun("c1"))
    return RigClient(rig)


def table(client: RigClient, width: int, wf_run_id: str = "c1") -> list[str]:
    """The lines of the table."""
    out = io.StringIO()
    print_table(client.history(wf_run_id, from_start=True), Console(file=out, width=width, highlight=False))
    return out.getvalue().splitlines()


def cells(lines: list[str], heading: str) -> list[str]:
    """The lines below a heading of the last table."""
    lines = [line for line in lines if not line.startswith(ARROW)]
    lines = lines[: lines.index(SAME_CAUSE) - 1] if SAME_CAUSE in lines else lines
    at = max(index for index, line in enumerate(lines) if line.startswith("time (UTC)"))
    head = lines[at]
    seq_ends = head.index("seq") + 3
    starts = [0, TIME_WIDTH, *(seq_ends + match.start(1) for match in re.finditer(r" (\S+)", head[seq_ends:])), None]
    columns = head.split("(UTC)")[1].split()
    assert [*columns, "cause"][:5] == ["seq", "event", columns[2], "what", "cause"]
    column = {"time": 0, "seq": 1, "event": 2, "what": 4, "cause": 5}[heading]
    # A character of two cells is made two characters, so that an index in a line is a column on the screen.
    on_screen = ["".join(it + "\0" * (cell_len(it) - 1) for it in line) for line in lines[at + 1 :]]
    return [line[starts[column] : starts[column + 1]].replace("\0", "").strip() for line in on_screen]


@pytest.mark.parametrize("width", [WIDTH_MIN, STACKED - 1, STACKED, ROOMY - 1, ROOMY, 120, 200])
def test_the_table_fits_the_terminal_and_has_every_column(client: RigClient, width: int) -> None:
    lines = table(client, width)
    assert max(map(cell_len, lines)) <= width
    heads = [line for line in lines if line.startswith("time")]
    assert len(heads) == 2, "one for each incarnation"
    thread = "thread" if width >= ROOMY else "#"
    cause = ["cause"] * (width >= STACKED)
    assert all(head.split() == ["time", "(UTC)", "seq", "event", thread, "what", *cause] for head in heads)
    entries = client.history("c1", from_start=True).incarnations[-1].entries
    seqs = [int(it) for it in cells(lines, "seq") if it]
    assert seqs == [entry.seq for entry in entries if entry.seq]
    assert [it for it in cells(lines, "event") if it] == [type(entry.event).__name__ for entry in entries]
    assert set(cells(lines, "time")) == {"00:00:00.000", "00:00:04.210", ""}


@pytest.mark.parametrize(("width", "event_id"), [(80, SHORT_ID), (120, SHORT_ID), (200, LONG_ID)])
def test_a_cause_stands_at_the_first_of_its_events_and_its_id_is_whole_if_there_is_room(
    client: RigClient, width: int, event_id: str
) -> None:
    causes = "".join(cells(table(client, width), "cause")).replace(" ", "")
    assert causes == (
        f"wf-commands[0]@0external-events[0]@1{event_id}external-events[0]@2{event_id}wf-commands[0]@1wf-commands[0]@2"
    )


def test_an_id_that_is_not_long_is_never_cut(client: RigClient) -> None:
    longest, longer = "a" * ID_LENGTH_MAX, "b" * (ID_LENGTH_MAX + 1)
    for event_id in (longest, longer):
        client.rig.turn(ExternalEvent("c1", "page-seen", event_id, "/"))
    causes = "".join(cells(table(client, STACKED), "cause"))
    assert longest in causes
    assert f"{longer[:8]}…" in causes
    assert longer[:9] not in causes


def test_on_a_narrow_terminal_a_cause_stands_above_its_events(client: RigClient) -> None:
    lines = [line.rstrip() for line in table(client, WIDTH_MIN)]
    causes = [line for line in lines if line.startswith(ARROW)]
    places = [
        "wf-commands[0]@0",
        "external-events[0]@1",
        "external-events[0]@2",
        "wf-commands[0]@1",
        "wf-commands[0]@2",
    ]
    assert [line.split()[1] for line in causes][-5:] == places
    assert f"{ARROW} external-events[0]@1 {LONG_ID}" in causes, "there is room for the whole id"
    posted = lines.index(f"{ARROW} external-events[0]@1 {LONG_ID}") + 1
    assert "ExternalEventPosted" in lines[posted]
    assert SAME_CAUSE not in lines


@pytest.mark.parametrize("width", [STACKED, 200])
def test_the_last_line_says_what_an_empty_cause_means(client: RigClient, width: int) -> None:
    assert table(client, width)[-2:] == ["", SAME_CAUSE]
    client.rig.turn(RunWf("never", "no-such-wf-spec"))
    assert SAME_CAUSE not in table(client, width, "never"), "no cause is empty"


def test_what_happened_is_wrapped_and_what_is_longer_than_a_few_lines_is_cut(client: RigClient) -> None:
    narrow, wide = (cells(table(client, width), "what") for width in (80, 200))
    assert "Rejected" not in "".join(narrow)
    for said in (narrow, wide):
        assert f"ExternalEvent'address-changed''{LONG_ID}'waspostedbefore" in "".join(said).replace(" ", "")
    assert narrow[LINES_MAX - 1].endswith("…"), "the Variables that a WfRun starts with"
    assert "receipt = null" not in " ".join(narrow)
    assert "receipt = null" in " ".join(wide)


def test_the_date_is_said_once_or_where_a_day_begins(client: RigClient) -> None:
    assert sum("2026-01-01" in line for line in table(client, 80)) == 2, "in the title of each incarnation"
    client.rig.now_ms += DAY_MS
    client.rig.turn(ExternalEvent("c1", "page-seen", "p1", "/"))
    lines = table(client, 80)
    assert "c1, started by wf-commands@0, on 2026-01-01" in lines
    times = [it for it in cells(lines, "time") if it]
    assert times[0] == "00:00:00.000"
    assert times[-3:] == ["2026-01-02", "00:00:04.210", "00:00:04.210"]


def test_a_character_that_would_give_the_terminal_an_order_is_shown_as_its_escape(client: RigClient) -> None:
    client.rig.turn(ExternalEvent("c1", "page-seen", "a\x1b[31mb\u202ec\nd", "/"))
    text = "\n".join(table(client, 200))
    assert r"page-seen a\x1b[31mb\u202ec\nd" in text
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_square_brackets_are_no_markup(client: RigClient) -> None:
    client.rig.turn(ExternalEvent("c1", "page-seen", "[bold]x[/bold]", "/"))
    client.rig.turn(RunWf("[/bold]", "cart"))  # an id that is refused stands on the log as well
    assert "page-seen [bold]x[/bold]" in "\n".join(table(client, 200))
    assert table(client, 200, "[/bold]")[0].startswith("[/bold], while there was no WfRun")


def test_a_long_history_has_one_heading_and_every_event(client: RigClient) -> None:
    for number in range(CHUNK):
        client.rig.turn(StopWfRun("c1", number + 10))
    entries = client.history("c1").incarnations[-1].entries
    lines = table(client, 120)
    assert len(entries) > CHUNK + 20
    assert sum(line.startswith("time") for line in lines) == 2
    assert [int(it) for it in cells(lines, "seq") if it] == [entry.seq for entry in entries]


def test_rows_keep_the_order_of_the_log(client: RigClient) -> None:
    entries = client.history("c1").entries
    rows = list(HistoryTable(Console(file=io.StringIO())).rows_of(entries))
    assert rows.pop(0).time == "2026-01-01"
    assert [row.event for row in rows] == [type(entry.event).__name__ for entry in entries]
    assert [row.style for row in rows if row.event in ("Rejected", "Ignored")] == ["red", "dim"]


def test_a_history_that_comes_in_chunks_is_the_same_but_for_wider_columns(client: RigClient) -> None:
    entries = client.history("c1", from_start=True).entries
    out = io.StringIO()
    one_by_one = HistoryTable(Console(file=out, width=900, highlight=False))
    for entry in entries:
        one_by_one.add([entry])
    one_by_one.end()
    told = [line.split() for line in out.getvalue().splitlines()]
    assert told == [line.split() for line in table(client, 900)]


def test_times_are_those_of_a_zone_and_a_day_begins_when_it_begins_there(client: RigClient) -> None:
    tokyo = timezone(timedelta(hours=9))
    client.rig.now_ms += 16 * 60 * 60 * 1000
    client.rig.turn(ExternalEvent("c1", "page-seen", "p1", "/"))
    out = io.StringIO()
    print_table(client.history("c1", from_start=True), Console(file=out, width=120, highlight=False), tokyo)
    text = out.getvalue()
    assert "time (local)" in text
    assert "09:00:04.210" in text
    assert re.search(r"\n2026-01-02 +\n01:00:04.210", text)


def test_every_event_has_one_colour_and_the_legend_names_each() -> None:
    coloured = [event for _, events in KINDS.values() for event in events]
    assert sorted(coloured) == sorted(event.__name__ for event in get_args(Event))
    out = io.StringIO()
    print_legend(Console(file=out, width=80))
    assert [kind for kind in KINDS if kind not in out.getvalue()] == []


# The command.


def history_printed(client: RigClient, width: int | None, capsys: pytest.CaptureFixture[str], **options: Any) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history, "terminal_width", lambda: width)
        patch.setattr(printing, "terminal_width", lambda _: width)
        return printed(client, history.history, "c1", capsys=capsys, utc=True, **options)


def test_a_terminal_gets_the_table(client: RigClient, capsys: pytest.CaptureFixture[str]) -> None:
    lines = history_printed(client, 80, capsys).splitlines()
    assert lines[2].split() == ["time", "(UTC)", "seq", "event", "#", "what", "cause"]
    assert max(map(cell_len, lines)) <= 80
    assert "--previous" not in "\n".join(lines), "nobody asked"
    assert "4711" not in "\n".join(lines)
    assert "[redacted]" in "\n".join(lines)
    assert '"4711"' in history_printed(client, 200, capsys, unmask=True)


def test_a_pipe_gets_every_event_on_one_line_with_its_time(
    client: RigClient, capsys: pytest.CaptureFixture[str]
) -> None:
    printed_lines = history_printed(client, None, capsys, previous=True).splitlines()
    title, head, *lines = printed_lines[printed_lines.index("") + 1 :]
    assert title == "c1, started by wf-commands@0, from 2026-01-01T00:00:00.000Z"
    assert head.split() == ["time", "seq", "event", "cause"]
    entries = client.history("c1").incarnations[-1].entries
    assert [line.split()[:2] for line in lines] == [[iso_of(it), str(it.seq)] for it in entries]
    assert all(re.search(r"  \S+\[0\]@\d+( \S+)?$", line) for line in lines), "each names its cause"
    assert not any("…" in re.sub(r'"[^"]*…', "", line) for line in lines), "nothing but a long value is cut"


def iso_of(entry: LogEntry) -> str:
    return f"2026-01-01T00:00:0{entry.time_ms // 1000 % 60}.{entry.time_ms % 1000:03}Z"


def test_a_terminal_too_narrow_for_the_columns_gets_the_lines(
    client: RigClient, capsys: pytest.CaptureFixture[str]
) -> None:
    narrow, piped = (history_printed(client, it, capsys, previous=True) for it in (WIDTH_MIN - 1, None))
    assert narrow == piped


def test_json_is_the_same_whatever_the_terminal_is(client: RigClient, capsys: pytest.CaptureFixture[str]) -> None:
    told = history_printed(client, 80, capsys, as_json=True)
    assert told == history_printed(client, None, capsys, as_json=True)
    entries = [json.loads(line) for line in told.splitlines()]
    assert [set(it) for it in entries] == [
        {"wf_run_id", "incarnation", "seq", "time", "event", "fields", "cause"}
    ] * len(client.history("c1").entries)


# Lines that fit.


@settings(max_examples=500)
@example("aaaaa東 \u0301", 9, "")
@given(st.text(st.sampled_from("ab 東é\u0301"), max_size=60), st.integers(8, 30), st.sampled_from(["", "  ", "    "]))
def test_wrapped_text_fits_and_is_all_there(text: str, width: int, hanging: str) -> None:
    lines = wrapped(text, width, indent="> ", hanging=hanging)
    assert all(cell_len(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == "> ".strip() + text.replace(" ", "")
    assert all(line.startswith(hanging) for line in lines[1:])


def test_text_is_broken_at_its_spaces() -> None:
    assert wrapped("one two three", 9, hanging="  ") == ["one two", "  three"]
    assert wrapped("x = abcdefghijkl", 8, hanging="  ") == ["x = abcd", "  efghij", "  kl"]
    assert wrapped("a  b", 10) == ["a  b"]
    assert wrapped("", 10) == [""]


def test_a_history_of_nothing_prints_nothing() -> None:
    out = io.StringIO()
    print_table(History("w", [], complete=True), Console(file=out, width=80))
    assert out.getvalue() == ""

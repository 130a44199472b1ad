"""`halter list` and `halter stats`: what they print, and what they say where something is missing."""

import json
import re
from pathlib import Path

import pytest

from halter.view.place import VARIABLE
from halter.view.wf_run_lines import HaltLine, WaitLine, WfRunLine
from halter.view.wf_run_text import WfRunTable, fitted, plain_data
from tests.support.command_line import halter
from tests.support.views import filled, many


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("view") / "shop.db"
    filled(str(file)).close()
    return file


@pytest.fixture(autouse=True)
def _view(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(shop))


def listed(capsys: pytest.CaptureFixture[str], *options: str) -> list[str]:
    """The ids of the WfRuns that a list with these options has."""
    code, out, _ = halter(capsys, "list", *options, "--json")
    assert code == 0
    return [it["wf_run_id"] for it in json.loads(out)["wf_runs"]]


def test_a_list_says_why_each_wf_run_is_where_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = halter(capsys, "list", "--sort", "id")
    assert code == 0
    lines = {line.split("  ")[0]: line for line in out.splitlines()}
    assert next(iter(lines)) == "WfRun"
    assert "HALTED" in lines["cart-stopped"]
    assert "held by MANUAL_HALT" in lines["cart-stopped"]
    assert "in quarantine" in lines["cart-quarantined"]
    assert "ERROR" in lines["order-failed"]
    assert "the stock is closed" in lines["order-failed"]
    assert "CHILD_FAILED (order-killed): " in lines["order-killed"]
    assert "waits for checkout" in lines["cart-waits"]
    assert f"halter: {len(lines) - 1} WfRuns\n" in err
    assert "is 'halter view' running?" in err


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--status", "ERROR"), ["order-failed"]),
        (("--halted-for", "MANUAL_HALT", "--wf-spec", "cart"), ["cart-stopped"]),
        (("--where", "quarantined=yes"), ["cart-quarantined"]),
        (("--failed-with", "ANY", "--status", "ERROR"), ["order-failed"]),
        (("--text", "bob"), ["cart-stopped"]),
        (("--status", "RUNNING", "--status", "ERROR", "--where", "text=order-f"), ["order-failed"]),
        (("--older-than", "9999d"), []),
        (("--failed-with", "TASK_FAILURE"), ["order-failed"]),
        (("--failed-with", "TASK_ERROR"), ["order-failed"]),
        (("--failed-with", "CHILD_FAILED"), ["order-killed"]),
        (("--failed-with", "order-killed"), ["order-killed"]),
    ],
)
def test_filters_choose(capsys: pytest.CaptureFixture[str], options: tuple[str, ...], expected: list[str]) -> None:
    assert listed(capsys, *options) == expected


def test_a_list_goes_on_where_it_ended(capsys: pytest.CaptureFixture[str]) -> None:
    whole = listed(capsys, "--sort", "id")
    found: list[str] = []
    more: list[str] = []
    while True:
        code, out, err = halter(capsys, "list", "--sort", "id", "-n", "2", *more)
        assert code == 0
        found += [line.split(" ")[0] for line in out.splitlines()[1:]]
        place = re.search(r"2 of \d+ WfRuns; go on with --after (\S+)", err)
        if place is None:
            break
        more = ["--after", place[1]]
    assert found == whole
    assert listed(capsys, "--sort", "id", "--reverse") == whole[::-1]


def test_counts(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert halter(capsys, "list", "--status", "ERROR", "--count")[:2] == (0, "1\n")
    assert json.loads(halter(capsys, "list", "--text", "nobody", "--count", "--json")[1]) == {
        "count": 0,
        "is_exact": True,
    }


def test_an_empty_list_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = halter(capsys, "list", "--wf-spec", "nothing")
    assert (code, out) == (0, "")
    assert "there is no WfRun with wf-spec=nothing in the view" in err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--wf-spec", "Carts"), "the view knows no WfSpec 'Carts'; did you mean 'cart'?"),
        (("--wf-spec", "zzz"), "the view knows no WfSpec 'zzz'; there are cart, order"),
        (("--wf-spec", "cart", "--version", "7"), "the view knows no version 7 of WfSpec 'cart'; the newest are 0.0"),
        (
            ("--failed-with", "order-kiled"),
            "no WfRun in the view has ever failed with 'order-kiled'; did you mean 'order-killed'?",
        ),
        (("--waits-for", "EXTERNAL_EVENT:check-out"), "no ExternalEventDef 'check-out'; did you mean 'checkout'?"),
        (("--waits-for", "TASK_REPORT:chargecard"), "no TaskDef 'chargecard'; did you mean 'charge-card'?"),
    ],
)
@pytest.mark.parametrize("more", [(), ("--json",), ("--count",)])
def test_a_name_that_the_view_has_never_seen_is_told(
    capsys: pytest.CaptureFixture[str], options: tuple[str, ...], sentence: str, more: tuple[str, ...]
) -> None:
    code, _, err = halter(capsys, "list", *options, *more)
    assert code == 0
    assert sentence in " ".join(err.split())


@pytest.mark.parametrize("options", [("--wf-spec", "cart", "--status", "ERROR"), ("--failed-with", "TIMEOUT")])
def test_an_empty_list_of_names_that_there_are_says_no_more(
    capsys: pytest.CaptureFixture[str], options: tuple[str, ...]
) -> None:
    _, _, err = halter(capsys, "list", *options)
    assert "there is no WfRun with" in " ".join(err.split())
    assert "knows no" not in err
    assert "ever failed" not in err


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (("--status", "RUNING"), 2, "status: 'RUNING' is none; did you mean 'RUNNING'?"),
        (("--where", "status"), 2, "--where: expected NAME=VALUE, found 'status'"),
        (("--where", "staus=ERROR"), 2, "filter: 'staus' is none; did you mean 'status'?"),
        (("--sort", "name"), 2, "--sort: 'name' is none"),
        (("--after", "x"), 1, "after: expected a place that an earlier page of the same list gave"),
        (("--watch", "--json"), 2, "--watch shows the first page on a terminal"),
        (("--watch",), 2, "--watch shows a list on a terminal, and stdout is none"),
        (("--var", "nothing=1"), 1, "Variable 'nothing' is not searchable"),
        (("--view", "/nowhere.db"), 1, "there is no file /nowhere.db; start one: `halter view`"),
    ],
)
def test_what_cannot_be_listed_is_said_in_a_sentence(
    capsys: pytest.CaptureFixture[str], options: tuple[str, ...], code: int, sentence: str
) -> None:
    found = halter(capsys, "list", *options)
    assert found[0] == code
    assert found[1] == ""
    assert sentence in " ".join(found[2].split())


def test_stats_are_numbers_by_subject(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = halter(capsys, "stats")
    assert code == 0
    assert "WfRuns by status\n" in out
    assert re.search(r"^ +1  ERROR$", out, re.MULTILINE)
    assert re.search(r"because of a thread that failed with\n +1  order-killed$", out, re.MULTILINE)
    assert re.search(r"^ +1  WfRun in quarantine$", out, re.MULTILINE)
    assert re.search(r"^ +\d+  MANUAL_HALT +the oldest for ", out, re.MULTILINE)
    told = json.loads(halter(capsys, "stats", "--json")[1])
    assert told["by_status"]["ERROR"] == {"count": 1, "is_exact": True}
    assert told["quarantined"]["count"] == 1
    assert told["view"]["records_behind"] == 0


def test_ten_thousand_rows_are_printed_in_pages(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many(str(tmp_path / "many.db"), wf_runs=2_000).close()
    monkeypatch.setenv(VARIABLE, str(tmp_path / "many.db"))
    code, out, err = halter(capsys, "list", "-n", "1700", "--sort", "id")
    assert code == 0
    lines = out.splitlines()
    assert [line.split(" ")[0] for line in lines[1:]] == [f"order-{n:08d}" for n in range(1_700)]
    assert "1,700 of 2,000 WfRuns" in err


def line_of(wf_run_id: str = "cart-1", **fields: object) -> WfRunLine:
    none = dict.fromkeys(("ended_ms", "failure_code", "failure_message", "cause_code", "node_name", "forked_from"))
    told = {"partition": 0, "incarnation": 1, "wf_spec_name": "cart", "wf_spec_version": "0.1", "status": "RUNNING"}
    more = {"seq": 3, "started_ms": 0, "changed_ms": 1_000, "halted": False, "quarantined": False, "live_threads": 1}
    return WfRunLine(wf_run_id, **{**none, **told, **more, "variables": {}, **fields})  # type: ignore[arg-type]


HELD = HaltLine(1, "PENDING_INTERRUPT", "cancel", "e1", None, None, 2_000)
WAIT = WaitLine(0, "TASK_REPORT", "charge-card", 2, 3, None, 3_000, None)


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_a_table_fits_its_terminal(width: int) -> None:
    page = [
        line_of("a-very-long-id-of-somebody-who-writes-uuids-0190a1b2-0000", halt_reasons=(HELD,)),
        line_of("長い名前", waits=(WAIT, WAIT), wf_spec_name="a-wf-spec-with-quite-a-name"),
        line_of("bad\x1b[31m\nid", cause_code="late", ended_ms=5, failure_code="TIMEOUT", failure_message="late " * 30),
    ]
    lines = [line for line, _ in WfRunTable(width, 65_000).lines(page)]
    from rich.cells import cell_len

    assert len(lines) == 4
    assert all(line.isprintable() for line in lines)
    assert max(map(cell_len, lines)) <= max(width, 65)


def test_the_words_of_a_line() -> None:
    lines = [
        line for line, _ in WfRunTable(None, 65_000).lines([line_of(halt_reasons=(HELD,)), line_of(waits=(WAIT,))])
    ]
    assert lines[1].endswith("held by PENDING_INTERRUPT cancel e1 (thread 1)  1 min")
    assert lines[2].endswith("waits for task charge-card, attempt 2 of 3      1 min")
    assert plain_data(line_of(halt_reasons=(HELD,)))["halt_reasons"][0]["since"] == "1970-01-01T00:00:02.000Z"


@pytest.mark.parametrize(("text", "width", "expected"), [("ab", 4, "ab  "), ("abcd", 3, "ab…"), ("長長", 3, "長…")])
def test_a_text_is_fitted_into_cells(text: str, width: int, expected: str) -> None:
    assert fitted(text, width) == expected

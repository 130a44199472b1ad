"""`halter history | state | diff` on an export: what they print, and what bad input gets."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from halter.cli.history import entries_of
from halter.history.export import export
from halter.history.live import Live
from halter.history.selection import Bound, Selection
from processors.core.records.commands import ExternalEvent, RunWf
from processors.core.records.events import LogEntry, ThreadRescued, WfRunEnded, WfRunStarted
from tests.halter.test_export import CARD, cart
from tests.support import recorded
from tests.support.command_line import halter
from tests.support.memory_source import MemorySource
from tests.support.records import filled

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An export, in clear, of a cart that was interrupted: its card is masked."""
    source = cart()
    source.engine.put(RunWf("c2", "cart", {"customer": "Bob", "card": "another card"}))
    source.engine.put(ExternalEvent("c2", "address-changed", "a1", "3 Mill Lane"))
    path = tmp_path_factory.mktemp("exports") / "x"
    export(MemorySource(source.engine), ["c1", "c2"], path, recorded.START_MS, clear=True)
    return str(path)


def asked(capsys: Captured, *words: str) -> Any:
    code, out, err = halter(capsys, words[0], "--json", *words[1:])
    assert (code, CARD in out) == (0, False), err
    return json.loads(out)


def refused(capsys: Captured, *words: str) -> str:
    code, out, err = halter(capsys, *words)
    assert (code in (1, 2), out) == (True, ""), out
    assert err.startswith("halter: ")
    assert err.count("\n") == 1, "one sentence"
    return err


def test_the_state_at_a_moment_is_shown_as_halter_show_would_have_shown_it(capsys: Captured, file: str) -> None:
    first = asked(capsys, "state", "c1", "--at", "1", "--file", file)
    assert (first["at"]["seq"], first["at"]["event"]) == (1, "WfRunStarted")
    assert list(first["state"]["threads"]) == ["0"]
    assert first["state"]["threads"]["0"]["variables"]["card"] == "[redacted]"
    before = asked(capsys, "state", "c1", "--at", "0", "--file", file)
    assert (before["at"]["seq"], before["state"]["status"], before["state"]["threads"]) == (0, None, {})
    code, out, err = halter(capsys, "state", "c1", "--file", file)
    assert (code, "COMPLETED" in out) == (0, True)
    assert "its threads left when it ended; --at" in err


def test_a_history_of_which_nothing_is_asked_for_says_so(capsys: Captured, file: str) -> None:
    code, out, err = halter(capsys, "history", "c1", "--thread", "99", "--file", file)
    assert (code, out) == (0, "")
    assert "WfRun 'c1' has events, and none of them is what" in err
    assert "none of them" not in halter(capsys, "history", "c1", "--thread", "0", "--file", file)[2]


def test_unmask_shows_masked_values(capsys: Captured, file: str) -> None:
    assert CARD in halter(capsys, "state", "c1", "--at", "1", "--file", file, "--unmask")[1]
    assert CARD in halter(capsys, "history", "c1", "--file", file, "--unmask")[1]


def test_a_difference_says_what_is_new_gone_and_another(capsys: Captured, file: str) -> None:
    code, out, _ = halter(capsys, "diff", "c2", "1", "--file", file)
    assert code == 0
    assert "~ address" in out or "+ address" in out, out
    assert "3 Mill Lane" in out
    told = asked(capsys, "diff", "c2", "1", "1", "--file", file)
    assert told["changes"] == []
    assert "nothing differs" in halter(capsys, "diff", "c2", "1", "1", "--file", file)[1]


def test_two_wf_runs_are_compared_without_their_times_and_a_masked_value_by_whether_it_is_another(
    capsys: Captured, file: str
) -> None:
    told = asked(capsys, "diff", "c1", "1", "1", "--with", "c2", "--file", file)
    changed = {tuple(it["path"]): (it.get("before"), it.get("after")) for it in told["changes"]}
    assert changed == {
        ("threads", 0, "variables", "card"): ("[redacted 1]", "[redacted 2]"),
        ("threads", 0, "variables", "customer"): ("Ann", "Bob"),
    }
    assert asked(capsys, "diff", "c1", "1", "1", "--with", "c1", "--file", file)["changes"] == []


def test_a_moment_before_the_newest_is_named_from_the_end(capsys: Captured, file: str) -> None:
    told = asked(capsys, "diff", "--file", file, "c2", "-2")
    assert told["after"]["seq"] - told["before"]["seq"] == 2


def test_the_only_wf_run_of_an_export_need_not_be_named(capsys: Captured, file: str, tmp_path: Path) -> None:
    one = str(tmp_path / "one")
    assert halter(capsys, "export", "c2", "-o", one, "--file", file)[0] == 0
    assert asked(capsys, "state", "--at", "1", "--file", one)["at"]["wf_run_id"] == "c2"
    assert asked(capsys, "diff", "--file", one, "1", "3")["after"]["seq"] == 3
    assert "expected WF_RUN, one of 'c1', 'c2'" in refused(capsys, "state", "--file", file)


BAD: list[tuple[list[str], str]] = [
    (["state", "c"], "did you mean 'c1', 'c2'?"),
    (["history", "c11"], "did you mean 'c1'?"),
    (["state", "other"], ": it has 'c1', 'c2'"),
    (["state", "c1", "--at", "4711"], "has no event 4711: there are 1 to "),
    (["state", "c1", "--at", "-4711"], "has no moment 4711 events back"),
    (["state", "c1", "--at", "1999-12-31"], "has no event up to 1999-12-31"),
    (["state", "c1", "--at", "noon"], "expected a seq (57)"),
    (["state", "c1", "--incarnation", "4711"], "of incarnation 4711"),
    (["diff", "c1", "1", "--with", "c3"], "'c3'"),
    (["state", "c1", "--prefix", "p"], "--file reads an export and no Kafka"),
    (["export", "c1", "c3", "-o", "x"], "'c3'"),
    (["export", "c1", "-o", "no/such/folder/x"], "expected to write no/such/folder/x"),
]


@pytest.mark.parametrize(("words", "said"), BAD, ids=[" ".join(words) for words, _ in BAD])
def test_bad_input_gets_a_sentence(
    words: list[str], said: str, capsys: Captured, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in refused(capsys, *words, "--file", file)
    assert list(tmp_path.iterdir()) == []


def test_no_file_gets_a_sentence(capsys: Captured, tmp_path: Path) -> None:
    assert "cannot read" in refused(capsys, "history", "c1", "--file", str(tmp_path / "none"))


# halter history: what it selects.


def seqs(capsys: Captured, file: str, *words: str) -> list[int]:
    code, out, err = halter(capsys, "history", "c1", "--file", file, "--json", *words)
    assert code == 0, err
    return [json.loads(line)["seq"] for line in out.splitlines()]


def test_a_history_is_cut_at_both_ends_by_seq_by_time_or_from_the_newest(capsys: Captured, file: str) -> None:
    whole = seqs(capsys, file)
    assert whole == list(range(1, len(whole) + 1))
    assert seqs(capsys, file, "--from", "3", "--to", "5") == [3, 4, 5]
    assert seqs(capsys, file, "--from", "-2") == whole[-2:]
    assert seqs(capsys, file, "--to", "-2") == whole[:-2]
    assert seqs(capsys, file, "--from", f"-{len(whole) + 5}") == whole
    assert seqs(capsys, file, "--from", "4711") == []
    for begin, end in (("2026-01-01T00:00:00Z", "2026-01-01"), ("00:00", "00:00"), ("2026-01-01", "00:00:00.000")):
        assert seqs(capsys, file, "--utc", "--from", begin, "--to", end) == whole, (begin, end)
    assert seqs(capsys, file, "--utc", "--from", "00:00:00.001") == []
    assert seqs(capsys, file, "--utc", "--to", "2025-12-31T23:59:59.999") == []


def test_events_that_are_followed_are_told_as_they_come_and_end_with_the_last_that_is_wanted() -> None:
    log = cart().engine.log_of("c1")
    told: list[object] = []

    def coming() -> Iterator[LogEntry | None]:
        yield from log[:4]
        yield None
        assert told == [*log[2:4], None], "the last two, then what comes"
        yield from log[4:6]
        raise AssertionError("nothing more is asked for")

    for entry in Selection(start=Bound(back=2), end=Bound(seq=log[5].seq)).of(coming()):
        told.append(entry)  # noqa: PERF402  `coming` looks at it meanwhile
    assert told == [*log[2:4], None, *log[4:6]]


def test_a_history_is_that_of_some_threads_and_some_events(capsys: Captured, file: str) -> None:
    _, out, _ = halter(capsys, "history", "c1", "--file", file, "--json")
    entries = list(map(json.loads, out.splitlines()))
    of_thread = [it["seq"] for it in entries if it["fields"].get("thread") == 0 or it["event"] == "WfRunStarted"]
    assert seqs(capsys, file, "--thread", "0") == of_thread
    assert seqs(capsys, file, "--thread", "99") == []
    named = [it["seq"] for it in entries if it["event"] in ("NodeCompleted", "WfRunEnded")]
    assert seqs(capsys, file, "--event", "nodecompleted", "--event", "WfRunEnded") == named


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--event", "Halted"], "did you mean"),
        (["--follow"], "--follow waits for what happens"),
        (["--from", "noon"], "expected a seq (57)"),
    ],
)
def test_a_selection_that_cannot_be_gets_a_sentence(words: list[str], said: str, capsys: Captured, file: str) -> None:
    assert said in refused(capsys, "history", "c1", "--file", file, *words)


def test_following_ends_with_the_wf_run_unless_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    events = [filled(it, "x") for it in (WfRunStarted, WfRunEnded, ThreadRescued, WfRunEnded)]
    logged: list[Any] = [SimpleNamespace(entry=SimpleNamespace(event=it)) for it in events]
    told = [logged[0], None, logged[1], logged[2], None, logged[3], None, None]
    monkeypatch.setattr(Live, "follow", lambda *_, **__: iter(told))
    live = Live.__new__(Live)
    seen = [None if it is None else it.event for it in entries_of(live, "w", follow=True, previous=False)]
    assert seen == [None if it is None else it.entry.event for it in told[:-2]]

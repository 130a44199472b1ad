"""`halter show` and `halter run --wait` show WfRuns: what they wait for, and how they ended if the log still has it."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.cells import cell_len

from halter.cli import history, runs, states
from halter.files.definition_files import read_definition_file
from halter.show.waiting_text import NO_BREAK, wait_text
from processors.core.records.commands import DeleteWfRun, ExternalEvent, QuarantineWfRun, RunWf, SkipRecord, StopWfRun
from processors.core.records.spec import WaitStrategy
from processors.core.rules.waiting import ForStillness, ForThreads
from tests.support.shard_rig import ShardRig
from tests.support.stored_records import RigClient, printed

MINUTE_MS = 60_000
DEFINITIONS = """
external_events: {poke: {type: STR}, go: {}}
wf_specs:
  - name: s
    entrypoint: main
    threads:
      main:
        variables: {seen: {type: STR}}
        interrupts: [{event: poke, handler: h}]
        nodes:
          start: {kind: ENTRYPOINT, next: wait}
          wait: {kind: EXTERNAL_EVENT, event: go, next: done}
          done: {kind: EXIT}
      h:
        variables: {INPUT: {type: STR}}
        nodes:
          start: {kind: ENTRYPOINT, next: {to: done, set: [{var: seen, op: ASSIGN, value: {var: INPUT}}]}}
          done: {kind: EXIT}
"""


@pytest.fixture
def client(tmp_path: Path) -> RigClient:
    file = tmp_path / "s.yaml"
    file.write_text(DEFINITIONS)
    rig = ShardRig()
    rig.turn(*read_definition_file(file).commands)
    return RigClient(rig)


def later(client: RigClient, minutes: int, command: Any) -> None:
    client.rig.now_ms += minutes * MINUTE_MS
    client.rig.turn(command)


def test_a_former_wf_run_of_the_id_whose_end_was_just_before_does_not_matter(
    client: RigClient, capsys: pytest.CaptureFixture[str]
) -> None:
    later(client, 0, RunWf("w", "s", {}))
    later(client, 60, ExternalEvent("w", "poke", "p1", "former"))
    later(client, 1, DeleteWfRun("w"))
    later(client, 1, RunWf("w", "s", {}))
    later(client, 1, ExternalEvent("w", "poke", "p1", "this"))
    later(client, 1, ExternalEvent("w", "go", "g1", None))
    shown = printed(client, runs.show, "w", capsys=capsys)
    assert "COMPLETED" in shown
    assert 'seen = "this"' in shown


def test_an_external_event_from_long_before_the_wf_run_is_found_too(
    client: RigClient, capsys: pytest.CaptureFixture[str]
) -> None:
    later(client, 0, ExternalEvent("w", "go", "g1", None))
    later(client, 60, RunWf("w", "s", {"seen": "all"}))
    assert client.get("w").external_events[("go", "g1")] is not None  # type: ignore[union-attr]
    shown = printed(client, runs.show, "w", capsys=capsys)
    assert 'seen = "all"' in shown


def test_of_a_wf_run_that_is_older_than_the_log_the_row_is_shown(
    client: RigClient, capsys: pytest.CaptureFixture[str]
) -> None:
    later(client, 0, RunWf("w", "s", {}))
    later(client, 40 * 24 * 60, ExternalEvent("w", "go", "g1", None))
    client.reader.retained_from_ms = client.rig.now_ms - 30 * 24 * 60 * MINUTE_MS
    shown = printed(client, runs.show, "w", capsys=capsys)
    assert "w  COMPLETED  s:0.0, started" in shown
    assert "halter: the log no longer has the beginning of WfRun 'w'" in shown


def test_of_a_wf_run_that_has_left_the_log_the_row_is_shown(
    client: RigClient, capsys: pytest.CaptureFixture[str]
) -> None:
    later(client, 0, RunWf("w", "s", {}))
    later(client, 1, ExternalEvent("w", "go", "g1", None))
    client.reader.retained_from_ms = client.rig.now_ms + 1
    shown = printed(client, runs.show, "w", capsys=capsys)
    assert "w  COMPLETED  s:0.0, started" in shown
    assert "halter: the log no longer has the beginning" in shown


def test_a_quarantine_from_when_the_row_could_not_be_read_is_shown_once_it_can(client: RigClient) -> None:
    later(client, 0, RunWf("w", "s", {}))
    row = client.rig.tables["wf-runs"][b"w"]
    client.rig.tables["wf-runs"][b"w"] = row[:-3]
    client.rig.crash()
    later(client, 1, QuarantineWfRun("w"))
    client.rig.tables["wf-runs"][b"w"] = row
    shown = client.get("w")
    assert shown is not None
    assert shown.quarantined_ms == client.rig.now_ms
    assert shown.kept_inputs == []


def test_the_history_of_a_partition_is_read_from_that_partition(client: RigClient) -> None:
    apart = RigClient(client.rig, partitions=8)
    for number in range(8):
        apart.history(f"partition/{number}")
    log = [partition for topic, partition in apart.reader.partitions if topic == "wf-events"]
    assert list(dict.fromkeys(log)) == list(range(8))


def test_the_history_of_a_partition_has_what_was_skipped_in_it(
    client: RigClient, capsys: pytest.CaptureFixture[str]
) -> None:
    client.rig.turn(SkipRecord("wf-commands", 0, 7, client.rig.now_ms, "bad", "s1", "Ann"))
    shown = printed(client, history.history, "partition/0", capsys=capsys)
    assert "SkipAccepted" in shown
    assert "wf-commands[0]@7" in shown


def test_an_event_that_fared_differently_in_each_thread_is_shown_by_thread(
    client: RigClient, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "several.yaml"
    file.write_text(SEVERAL)
    client.rig.turn(*read_definition_file(file).commands)
    later(client, 0, RunWf("w", "several", {}))
    for event_id, thread in (("e1", None), ("e2", None), ("e3", 1), ("e4", 9)):
        later(client, 1, ExternalEvent("w", "poke", event_id, None, thread))
    shown = printed(client, runs.show, "w", capsys=capsys)
    assert [line.strip() for line in shown.splitlines()][-2:] == [
        "unclaimed: poke e4",
        "poke e2: superseded in #1; claimed in #2",
    ]
    (_, one, *_) = json.loads(printed(client, runs.show, "w", capsys=capsys, as_json=True))["external_events"]
    assert one["outcomes"] == [{"thread": 1, "status": "SUPERSEDED"}, {"thread": 2, "status": "CLAIMED"}]
    assert one["outcomes_left_out"] == 0


SEVERAL = """
wf_specs:
  - name: several
    entrypoint: main
    threads:
      main:
        nodes:
          start: {kind: ENTRYPOINT, next: kids}
          kids: {kind: START_MULTIPLE_THREADS, thread: kid, over: [1, 2], next: wait}
          wait: {kind: EXTERNAL_EVENT, event: go, next: done}
          done: {kind: EXIT}
      kid:
        interrupts: [{event: poke, handler: h, policy: latest}]
        nodes:
          start: {kind: ENTRYPOINT, next: wait}
          wait: {kind: EXTERNAL_EVENT, event: go, next: done}
          done: {kind: EXIT}
      h:
        nodes:
          start: {kind: ENTRYPOINT, next: wait}
          wait: {kind: EXTERNAL_EVENT, event: go, next: done}
          done: {kind: EXIT}
"""


# What threads wait for.

WAITING = """
external_events: {poke: {type: STR}, go: {}}
tasks: {a-task-with-a-rather-long-name-of-its-own: {}}
wf_specs:
  - name: many
    entrypoint: main
    threads:
      main:
        variables: {pin: {type: STR, masked: true}, n: {type: INT, default: 0}, kids: {type: JSON_ARR}}
        nodes:
          start: {kind: ENTRYPOINT, next: kids}
          kids:
            kind: START_MULTIPLE_THREADS
            thread: a-child-whose-name-is-as-long-as-people-make-them
            over: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27]
            next: {to: secret, set: [{var: kids, op: ASSIGN, value: {output: kids}}]}
          secret: {kind: START_THREAD, thread: secret, next: pay}
          pay: {kind: START_THREAD, thread: pay, next: join}
          join: {kind: WAIT_FOR_THREADS, threads: {var: kids}, strategy: ANY, next: done}
          done: {kind: EXIT}
      a-child-whose-name-is-as-long-as-people-make-them:
        variables: {INPUT: {type: INT}}
        nodes:
          start: {kind: ENTRYPOINT, next: a-node-at-which-it-stays-for-quite-some-time}
          a-node-at-which-it-stays-for-quite-some-time: {kind: EXTERNAL_EVENT, event: go, timeout_s: 90061, next: done}
          done: {kind: EXIT}
      secret:
        nodes:
          start: {kind: ENTRYPOINT, next: wait}
          wait:
            kind: WAIT_FOR_CONDITION
            condition: {and: [{eq: [{var: pin}, given]}, {gt: [{var: n}, 5]}]}
            next: done
          done: {kind: EXIT}
      pay:
        nodes:
          start: {kind: ENTRYPOINT, next: work}
          work: {kind: TASK, task: a-task-with-a-rather-long-name-of-its-own, timeout_s: 30, next: done}
          done: {kind: EXIT}
"""


@pytest.fixture
def many(tmp_path: Path) -> RigClient:
    """A WfRun of thirty threads."""
    file = tmp_path / "many.yaml"
    file.write_text(WAITING)
    rig = ShardRig()
    rig.turn(*read_definition_file(file).commands)
    rig.turn(RunWf("w", "many", {"pin": "s3cret"}))
    return RigClient(rig)


def test_what_each_of_thirty_threads_waits_for_is_read_in_eighty_columns(
    many: RigClient, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(states, "terminal_width", lambda: 80)
    shown = printed(many, runs.show, "w", capsys=capsys)
    assert max(map(len, shown.splitlines())) <= 80
    assert shown.count("RUNNING  ") == 31
    assert "waits for ANY of #1 to #27 since 2026-01-01T00:00:00.000Z (" in shown
    assert shown.count("until 2026-01-02T01:01:01.000Z (") == 27
    assert "until 2026-01-01T00:00:30.000Z (" in shown
    whole = printed(many, runs.show, "w", capsys=capsys)
    monkeypatch.setattr(states, "terminal_width", lambda: None)
    assert " ".join(whole.split()) == " ".join(printed(many, runs.show, "w", capsys=capsys).split())


def test_long_words_and_characters_of_two_cells_fit_the_terminal_too(
    client: RigClient, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(states, "terminal_width", lambda: 80)
    later(client, 0, RunWf("w", "s", {"seen": "東京都" * 30}))
    later(client, 1, StopWfRun("w"))
    later(client, 1, ExternalEvent("w", "go", "g" * 200, None))
    shown = printed(client, runs.show, "w", capsys=capsys)
    assert max(map(cell_len, shown.splitlines())) <= 80
    words = "".join(shown.split())
    assert "東京都" * 19 in words
    assert "unclaimed:go" + "g" * 200 in words


def test_what_a_condition_waits_for_has_names_of_masked_variables_and_no_values(
    many: RigClient, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = printed(many, runs.show, "w", capsys=capsys)
    assert 'waits until pin == "given" and n > 5 since 2026-01-01T00:00:00.000Z (' in shown
    assert "s3cret" not in shown
    assert "s3cret" not in printed(many, runs.show, "w", as_json=True, capsys=capsys)


def test_programs_are_told_what_each_thread_waits_for(many: RigClient, capsys: pytest.CaptureFixture[str]) -> None:
    later(many, 0, StopWfRun("w"))
    threads = json.loads(printed(many, runs.show, "w", as_json=True, capsys=capsys))["threads"]
    since = "2026-01-01T00:00:00.000Z"
    held = {"reason": "ParentHalted", "parent": 0}
    assert threads["1"]["waits_for"] == [
        {"for": "HALT_REASON", "reason": held, "freed_by": "HOLDER_RUNS", "threads": [0]},
        {"for": "EXTERNAL_EVENT", "external_event_def": "go", "since": since, "until": "2026-01-02T01:01:01.000Z"},
    ]
    assert threads["28"]["waits_for"][1:] == [
        {"for": "CONDITION", "condition": 'pin == "given" and n > 5', "since": since}
    ]
    assert threads["29"]["waits_for"][1:] == [
        {
            "for": "TASK_REPORT",
            "task_def": "a-task-with-a-rather-long-name-of-its-own",
            "attempt": 1,
            "attempts": 1,
            "since": since,
            "until": "2026-01-01T00:00:30.000Z",
            "start_by": None,
            "started": None,
        }
    ]
    assert threads["0"]["waits_for"][0] == {
        "for": "HALT_REASON",
        "reason": {"reason": "ManualHalt"},
        "freed_by": "RESUME",
        "threads": [],
    }


def test_how_long_a_wf_run_that_is_over_is_kept_is_told(client: RigClient, capsys: pytest.CaptureFixture[str]) -> None:
    later(client, 0, RunWf("w", "s", {}))
    later(client, 1, ExternalEvent("w", "go", "g1", None))
    shown = printed(client, runs.show, "w", capsys=capsys)
    assert (
        "started 2026-01-01T00:00:00.000Z, ended 2026-01-01T00:01:00.000Z, kept until 2026-01-08T00:01:00.000Z" in shown
    )


def test_every_time_in_json_is_iso_8601(many: RigClient, capsys: pytest.CaptureFixture[str]) -> None:
    later(many, 1, StopWfRun("w"))
    lines = printed(many, history.history, "w", as_json=True, capsys=capsys).splitlines()
    documents = [json.loads(printed(many, runs.show, "w", as_json=True, capsys=capsys)), *map(json.loads, lines)]
    numbers = re.findall(r"\b1767\d{9}\b", json.dumps(documents))
    assert numbers == [], "a time as a number"
    assert "_ms" not in json.dumps(documents)


@pytest.mark.parametrize(("count", "words"), [(1, "#1 h stands still"), (2, "#1 h, #2 h stand still")])
def test_one_thread_stands_still_and_two_stand_still(count: int, words: str) -> None:
    thread = lambda number: SimpleNamespace(thread_spec="h", has_lost=False, number=number)  # noqa: E731
    run: Any = SimpleNamespace(threads={number: thread(number) for number in (1, 2)})
    told = wait_text(ForStillness(tuple(range(1, count + 1))), run, run.threads[1], 0)
    assert told.replace(NO_BREAK, " ") == f"halts when {words}"


@pytest.mark.parametrize(
    ("strategy", "count", "words"),
    [(WaitStrategy.ALL, 1, "#1"), (WaitStrategy.ALL, 2, "ALL of #1, #2"), (WaitStrategy.ANY, 2, "ANY of #1, #2")],
)
def test_how_many_of_several_threads_are_waited_for_is_told(strategy: WaitStrategy, count: int, words: str) -> None:
    run: Any = SimpleNamespace(threads={})
    told = wait_text(ForThreads(strategy, tuple(range(1, count + 1)), 0), run, run, 0)
    assert told.replace(NO_BREAK, " ").startswith(f"waits for {words} since ")


@pytest.mark.parametrize(("count", "words"), [(0, "0 inputs are"), (1, "1 input is"), (2, "2 inputs are")])
def test_kept_inputs_are_counted_in_english(
    client: RigClient, capsys: pytest.CaptureFixture[str], count: int, words: str
) -> None:
    later(client, 0, RunWf("w", "s", {}))
    later(client, 1, QuarantineWfRun("w", None, "c"))
    for number in range(count):
        later(client, 1, ExternalEvent("w", "poke", f"p{number}", "x"))
    assert f"{words} kept until `halter release w`" in printed(client, runs.show, "w", capsys=capsys)

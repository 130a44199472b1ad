"""What `halter show` and `halter run --wait` say of WfRuns that are over, as far as the log still has them."""

from pathlib import Path
from typing import Any

import pytest

from halter.cli import runs
from halter.definition_files import read_definition_file
from processors.core.commands import DeleteWfRun, ExternalEvent, QuarantineWfRun, RunWf, SkipRecord
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
    assert client.show("w").external_events[("go", "g1")] is not None  # type: ignore[union-attr]
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
    shown = client.show("w")
    assert shown is not None
    assert shown.quarantined_ms == client.rig.now_ms
    assert shown.kept_inputs == []


def test_the_history_of_a_partition_is_read_from_that_partition(client: RigClient) -> None:
    apart = RigClient(client.rig, partitions=8)
    for number in range(8):
        apart.history(f"partition/{number}")
    log = [partition for topic, partition in apart.reader.partitions if topic == "wf-events"]
    assert log == list(range(8))


def test_the_history_of_a_partition_has_what_was_skipped_in_it(
    client: RigClient, capsys: pytest.CaptureFixture[str]
) -> None:
    client.rig.turn(SkipRecord("wf-commands", 0, 7, client.rig.now_ms, "bad", "s1", "Ann"))
    shown = printed(client, runs.history, "partition/0", capsys=capsys)
    assert "SkipAccepted" in shown
    assert "wf-commands[0]@7" in shown

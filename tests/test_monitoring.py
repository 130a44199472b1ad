"""Alert rules and dashboard: they name metrics and labels that exist, and each alert has an entry in the runbook."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from docs.dashboard import TABLE, expression
from processors.core.records.failures import INTERNAL_ERROR
from processors.worker.metric_table import HISTOGRAM, LABELS
from tests.support.prometheus import program
from tests.worker.test_metrics import PROCESS_TEXTS

DOCS = Path(__file__).resolve().parents[1] / "docs"
OPERATIONS = (DOCS / "operations.md").read_text(encoding="utf-8")
ALERTS = yaml.safe_load((DOCS / "monitoring" / "alerts.yaml").read_text(encoding="utf-8"))
DASHBOARD = json.loads((DOCS / "monitoring" / "dashboard.json").read_text(encoding="utf-8"))
RULES: list[dict[str, Any]] = [rule for group in ALERTS["groups"] for rule in group["rules"]]

SCRAPED = {"job", "instance"}
"""Labels that Prometheus itself puts on what it scrapes."""
SUFFIXES = ("_bucket", "_sum", "_count")
NAME = re.compile(r"\b(?:halter_[a-z_]+|process_[a-z_]+|up)\b")
PARTS = ("Means", "How bad", "Look", "Mend")

PANEL_SCHEMA = {
    "type": "object",
    "required": ["id", "type", "title", "gridPos"],
    "properties": {
        "id": {"type": "integer", "minimum": 1},
        "type": {"enum": ["row", "stat", "timeseries"]},
        "title": {"type": "string", "minLength": 1},
        "gridPos": {
            "type": "object",
            "required": ["x", "y", "w", "h"],
            "additionalProperties": {"type": "integer", "minimum": 0, "maximum": 1_000},
        },
        "targets": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "object", "required": ["refId", "expr", "datasource", "legendFormat"]},
        },
    },
}
SCHEMA = {
    "type": "object",
    "required": ["uid", "title", "schemaVersion", "panels", "templating", "time", "refresh"],
    "properties": {
        "uid": {"type": "string", "maxLength": 40},
        "schemaVersion": {"const": 39},
        "panels": {"type": "array", "items": PANEL_SCHEMA},
        "templating": {"type": "object", "required": ["list"]},
    },
}
"""What Grafana needs of a dashboard, as its documentation has it."""


def strings_left_out(text: str) -> str:
    return re.sub(r'"[^"]*"', '""', text)


def metric_of(name: str) -> tuple[str, set[str]]:
    """Return the metric of a name in an expression, and the labels that it has. Raises KeyError."""
    if name == "up":
        return name, SCRAPED
    base = next((name.removesuffix(it) for it in SUFFIXES if name.endswith(it) and name not in TABLE), name)
    metric = TABLE[base]
    assert (base != name) == (metric.kind == HISTOGRAM), f"{name}: a {metric.kind}"
    return base, {*metric.labels, *SCRAPED, *(["le"] if metric.kind == HISTOGRAM else [])}


def check(text: str) -> set[str]:
    """Check the names and labels of an expression; return its metrics."""
    bare = strings_left_out(text)
    found = {name: metric_of(name) for name in NAME.findall(bare)}
    assert found, text
    for name, selectors in re.findall(r"(\w+)\{([^}]*)\}", bare):
        assert set(re.findall(r"(\w+)\s*[=!]", selectors)) <= found[name][1], f"{text}: labels of {name}"
    everywhere = set.union(*(labels for _, labels in found.values()))
    for labels in re.findall(r"\b(?:by|without|on) \(([\w, ]+)\)", bare):
        assert set(labels.split(", ")) <= everywhere, text
    return {base for base, _ in found.values()}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_names_what_there_is_and_has_a_threshold_a_time_and_a_severity(rule: dict[str, Any]) -> None:
    check(rule["expr"])
    assert re.search(r"(==|<|>|<=|>=) *[\d.e]+|< max_over_time", rule["expr"])
    assert re.fullmatch(r"\d+[smh]", rule["for"])
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    labels = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
    assert labels <= {*LABELS, *SCRAPED}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_has_an_entry_in_the_runbook_that_says_what_to_do(rule: dict[str, Any]) -> None:
    name = rule["alert"]
    assert rule["annotations"]["runbook"] == f"docs/operations.md#{name.lower()}"
    entry = OPERATIONS.split(f"\n### {name}\n")[1].split("\n#")[0]
    assert re.findall(r"^- \*\*([\w ]+):\*\* \S", entry, re.MULTILINE) == list(PARTS)


def test_the_runbook_has_no_entry_without_an_alert() -> None:
    assert re.findall(r"^### (Halter\w+)$", OPERATIONS, re.MULTILINE) == [rule["alert"] for rule in RULES]


def panels() -> Iterator[dict[str, Any]]:
    return (panel for panel in DASHBOARD["panels"] if panel["type"] != "row")


def test_the_dashboard_is_what_its_program_makes_and_what_grafana_takes() -> None:
    made = subprocess.run(
        [sys.executable, "-m", "docs.dashboard", "--check"],
        cwd=DOCS.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    jsonschema.validate(DASHBOARD, SCHEMA)
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)


def test_panels_do_not_overlap_and_fit_the_width() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


def test_every_panel_says_what_it_shows_in_a_unit() -> None:
    for panel in panels():
        assert panel["description"].endswith((".", "?")), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in {"short", "s", "ops", "bytes", "percentunit"}
        for target in panel["targets"]:
            check(target["expr"].replace("$__rate_interval", "5m"))


def test_every_metric_of_ours_is_in_the_dashboard_or_in_an_alert() -> None:
    shown = set.union(*(check(target["expr"]) for panel in panels() for target in panel["targets"]))
    shown |= set.union(*(check(rule["expr"]) for rule in RULES))
    said_by_probes = {"halter_partition_restoring"}
    counted_elsewhere = {
        "halter_output_records_total",
        "halter_timers_fired_total",
        "halter_ignored_total",
        "halter_task_worker_attempts_total",
        "halter_transform_records_total",
        "halter_transform_outputs_total",
        "halter_transform_transactions_total",
        "halter_transform_aborted_total",
        "halter_transform_waiting",
        "halter_view_transactions_total",
        "halter_view_rebuilds_total",
        "halter_console_logins_total",
        "halter_console_actions_total",
        "halter_console_live_clients",
        "halter_console_live_dropped_total",
    }
    assert {it for it in TABLE if it.startswith("halter_")} - shown - said_by_probes == counted_elsewhere


def test_a_metric_or_a_label_that_there_is_not_cannot_be_shown() -> None:
    with pytest.raises(KeyError):
        expression("sum({halter_redy})")
    with pytest.raises(AssertionError):
        expression("sum by (partition) ({halter_ready})")
    with pytest.raises(AssertionError):
        expression('sum({halter_wf_runs | state="RUNNING"})')


@pytest.mark.parametrize("checks", [("check", "rules", "alerts.yaml"), ("test", "rules", "alerts_test.yaml")])
def test_promtool_finds_nothing_wrong_with_the_rules(checks: tuple[str, ...]) -> None:
    command = [program("promtool"), *checks]
    found = subprocess.run(command, cwd=DOCS / "monitoring", capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


def test_each_alert_is_seen_to_fire_and_to_be_silent() -> None:
    tests = yaml.safe_load((DOCS / "monitoring" / "alerts_test.yaml").read_text(encoding="utf-8"))["tests"]
    seen = {(it["alertname"], bool(it["exp_alerts"])) for test in tests for it in test["alert_rule_test"]}
    assert seen == {(rule["alert"], fires) for rule in RULES for fires in (True, False)}


SELECTOR = re.compile(r"(\w+)\{([^}]*)\}")
SELECTED = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')


def expressions() -> Iterator[str]:
    yield from (rule["expr"] for rule in RULES)
    yield from (target["expr"].replace("$instance", ".*") for panel in panels() for target in panel["targets"])


def test_a_selector_names_values_that_a_label_can_have() -> None:
    checked = set()
    for text in expressions():
        for name, selectors in SELECTOR.findall(text):
            for label, _, value in SELECTED.findall(selectors):
                if label in SCRAPED or name.startswith("halter_console_"):
                    continue
                assert set(value.split("|")) <= set(re.findall(r"`(\w+)`", LABELS[label])) | {INTERNAL_ERROR}, text
                checked.add(label)
    assert checked == {"status", "kind", "halt_reason", "failure"}


def test_what_an_alert_counts_is_there_before_it_is_counted() -> None:
    """Prometheus does not see the first increase of a series that was not there: one dead letter would pass by."""
    exposed = [
        sample
        for _, text in PROCESS_TEXTS.values()
        for family in text_string_to_metric_families(text().decode())
        for sample in family.samples
    ]
    counted = set()
    for rule in RULES:
        if not re.search(r"> 0(?![.\d])", rule["expr"]):
            continue
        for name, _, selectors in re.findall(r"increase\((\w+)(\{([^}]*)\})?\[", rule["expr"]):
            wanted = SELECTED.findall(selectors)
            assert all(how in ("=", "=~", "!=") for _, how, _ in wanted)
            found = [
                it
                for it in exposed
                if it.name == name
                and all(
                    (re.fullmatch(value, it.labels[label]) is None) == (how == "!=") for label, how, value in wanted
                )
            ]
            assert found, f"{rule['alert']}: {name}{selectors}"
            counted.add(rule["alert"])
    assert {"HalterDeadLetters", "HalterWfRunsFailInside", "HalterConsoleFails", "HalterNoTaskWorker"} <= counted


STOPS = "broker/test_operations.py::test_what_stops_wf_runs_is_told_and_survives_a_restart_and_a_store_that_was_deleted"

PROCEDURES = {
    "A partition is paused": [
        "broker/test_operations.py::test_a_paused_partition_is_told_with_what_waits_and_goes_on_after_quarantine_and_release",
        "broker/test_pauses.py::test_readiness_says_what_is_wrong_and_a_record_that_is_skipped_lets_the_partition_go_on",
        "broker/test_pauses.py::test_a_release_that_breaks_again_can_be_passed_over",
    ],
    "HalterLagGrows": [
        "broker/test_runtime_outages.py::test_ten_times_more_than_can_be_handled_costs_time_and_nothing_else"
    ],
    "HalterNoTaskWorker": [
        STOPS,
        "broker/test_doctor.py::test_task_requests_that_nobody_takes_are_a_warning",
    ],
    "HalterDeadLetters": ["broker/test_doctor.py::test_dead_letters_are_counted_by_reason_and_the_newest_is_told"],
    "A worker ends with PositionLost or StateLost": [
        "broker/test_doctor.py::test_an_input_that_no_longer_has_what_is_folded_next_is_found",
    ],
    "HalterRestoreLong": ["broker/test_stores.py::test_a_worker_reads_only_what_came_after_its_checkpoint"],
    "HalterStoreFull": [
        "broker/test_operations.py::test_what_stops_wf_runs_is_told_and_survives_a_restart_and_a_store_that_was_deleted"
    ],
    "Kafka does not answer, or refuses": [
        "broker/test_runtime_outages.py::test_a_worker_whose_broker_is_away_waits_says_so_and_goes_on_by_itself",
        "broker/test_topic_acls.py::test_who_lacks_a_right_hears_within_three_seconds_where",
    ],
    "Restart and upgrade": [
        "broker/test_upgrade.py::test_beside_workers_of_0_1_0_their_topics_stay_and_afterwards_they_become_todays"
    ],
    "HalterTransformDeadLetters": [
        "broker/test_transform.py::test_records_that_kafka_refuses_become_dead_letters_and_others_do_not"
    ],
}
"""Procedure of docs/operations.md -> the tests on a real Kafka that follow it."""


@pytest.mark.parametrize("heading", PROCEDURES)
def test_a_procedure_is_in_the_manual_and_a_test_follows_it_on_a_real_kafka(heading: str) -> None:
    assert re.search(rf"^##+ {re.escape(heading)}$", OPERATIONS, re.MULTILINE)
    for test in PROCEDURES[heading]:
        file, _, name = test.partition("::")
        assert f"\ndef {name}(" in (DOCS.parent / "tests" / file).read_text(encoding="utf-8")

"""Write docs/monitoring/dashboard.json, the dashboard for Grafana; with --check, fail if it differs.

    python -m docs.dashboard

Expressions name metrics in braces, `{halter_ready}`, and each is looked up in the table of metrics. So a panel cannot
show a metric, or a label, that no process has. Grafana asks for the data source when the file is imported.
"""

import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from processors.worker.metric_table import HISTOGRAM, PROCESS, PROCESSES, Metric

FILE = Path(__file__).with_name("monitoring") / "dashboard.json"
TABLE: Final = {it.name: it for it in (*PROCESS, *(metric for metrics in PROCESSES.values() for metric in metrics))}
SELECTOR: Final = 'instance=~"$instance"'
WIDTH: Final = 24
NAMED: Final = re.compile(r"\{(\w+)((?:\s*\|[^}]*)?)\}")
GREEN, YELLOW, RED = "green", "yellow", "red"


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. `queries`: expressions, each with the text of its legend. `alarms`: value -> colour from there on."""

    title: str
    says: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    alarms: tuple[tuple[float, str], ...] = ()
    stacked: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under a heading."""

    title: str
    panels: tuple[Panel, ...]


def quantile(share: float, histogram: str, by: str = "") -> str:
    """Return the expression of a quantile of a histogram."""
    by = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({by}) (rate({{{histogram}}}[$__rate_interval])))"


def quantiles(histogram: str, by: str = "") -> tuple[tuple[str, str], ...]:
    """Return the queries of median and 99th percentile."""
    legend = f" {{{{{by}}}}}" if by else ""
    return (quantile(0.5, histogram, by), f"p50{legend}"), (quantile(0.99, histogram, by), f"p99{legend}")


def rate(counter: str, by: str) -> str:
    """Return the rate of a counter per second, by labels."""
    return f"sum by ({by}) (rate({{{counter}}}[$__rate_interval]))"


def stat(title: str, says: str, query: str, *alarms: tuple[float, str], unit: str = "short") -> Panel:
    """Return one number that is coloured."""
    return Panel(title, says, ((query, ""),), unit, "stat", 3, alarms)


ROWS: Final = (
    Row(
        "Is anything wrong?",
        (
            stat(
                "Workers ready",
                "Workers that fold all of their partitions.",
                "sum({halter_ready})",
                (0, RED),
                (1, GREEN),
            ),
            stat(
                "Partitions owned",
                "A partition without a worker stands still.",
                "count(count by (partition) ({halter_partition_paused}))",
            ),
            stat(
                "Paused",
                "Partitions that wait for an operator.",
                "sum({halter_partition_paused})",
                (0, GREEN),
                (1, RED),
            ),
            stat(
                "Quarantine",
                "WfRuns whose inputs are kept and not decided.",
                "sum({halter_quarantined_wf_runs})",
                (0, GREEN),
                (1, YELLOW),
            ),
            stat(
                "Oldest record",
                "How long the oldest record has waited to be folded.",
                "max({halter_oldest_unfolded_record_age_seconds})",
                (0, GREEN),
                (10, YELLOW),
                (60, RED),
                unit="s",
            ),
            stat("Offsets behind", "All inputs together.", "sum({halter_lag_offsets})", (0, GREEN), (1_000, YELLOW)),
            stat(
                "Dead letters, 1 h",
                "Records that could not be taken.",
                "sum(increase({halter_dead_letters_total}[1h]))",
                (0, GREEN),
                (1, YELLOW),
            ),
            stat(
                "Timed out, 1 h",
                "Task attempts that no task worker has reported in time.",
                'sum(increase({halter_task_attempts_ended_total | status="TIMEOUT"}[1h]))',
                (0, GREEN),
                (1, YELLOW),
            ),
        ),
    ),
    Row(
        "How much comes, and how far behind",
        (
            Panel(
                "Records by topic",
                "Input records that were folded and committed.",
                ((rate("halter_records_total", "topic"), "{{topic}}"),),
                "ops",
                stacked=True,
            ),
            Panel(
                "Offsets behind by topic",
                "What is not folded. A paused partition keeps the last value.",
                (("sum by (topic) ({halter_lag_offsets})", "{{topic}}"),),
            ),
            Panel(
                "Oldest record by partition",
                "The ten worst. A partition that stands out alone is paused, or has one busy WfRun.",
                (("topk(10, max by (partition) ({halter_oldest_unfolded_record_age_seconds}))", "{{partition}}"),),
                "s",
                alarms=((60, RED),),
            ),
        ),
    ),
    Row(
        "WfRuns",
        (
            Panel(
                "WfRuns by status",
                "Those that have ended stay until their retention ends.",
                (("sum by (status) ({halter_wf_runs})", "{{status}}"),),
                stacked=True,
            ),
            Panel(
                "Live WfRuns by WfSpec",
                "The ten with most.",
                (('topk(10, sum by (wf_spec) ({halter_wf_runs | status=~"RUNNING|HALTED"}))', "{{wf_spec}}"),),
            ),
            Panel(
                "Started and ended",
                "A gap that grows is work that piles up.",
                (
                    (rate("halter_wf_runs_started_total", "wf_spec"), "started {{wf_spec}}"),
                    (rate("halter_wf_runs_ended_total", "wf_spec, status"), "{{status}} {{wf_spec}}"),
                ),
                "ops",
            ),
            Panel(
                "Threads that are held",
                "By halt reason.",
                (("sum by (halt_reason) ({halter_held_threads})", "{{halt_reason}}"),),
            ),
            Panel(
                "Held longest",
                "PENDING_INTERRUPT: until a task is back. INTERRUPTED: a handler runs. MANUAL_HALT: until resumed. "
                "PARENT_HALTED: as its parent, which may be in ERROR.",
                (("max by (halt_reason) ({halter_oldest_hold_age_seconds})", "{{halt_reason}}"),),
                "s",
            ),
            Panel(
                "Refused, failed",
                "Commands by code, and threads by failure.",
                (
                    (rate("halter_rejections_total", "code"), "{{code}}"),
                    (rate("halter_thread_failures_total", "failure"), "failed: {{failure}}"),
                ),
                "ops",
            ),
        ),
    ),
    Row(
        "Tasks",
        (
            Panel(
                "Attempts out and to be retried",
                "Out: a task worker has it, or it waits in the queue.",
                (
                    ('sum({halter_armed_timers | kind="TASK_TIMEOUT"})', "out"),
                    ('sum({halter_armed_timers | kind="TASK_BACKOFF"})', "to be retried"),
                ),
            ),
            Panel(
                "Attempts that end",
                "By status, and whether another follows.",
                ((rate("halter_task_attempts_ended_total", "status, retried"), "{{status}}, retried: {{retried}}"),),
                "ops",
                stacked=True,
            ),
            Panel(
                "Requests by TaskDef",
                "Task attempts that were requested.",
                ((rate("halter_task_attempts_requested_total", "task_def"), "{{task_def}}"),),
                "ops",
            ),
            Panel(
                "Task workers: handlers that run",
                "At the limit, attempts wait.",
                (
                    ("sum({halter_task_worker_running})", "running"),
                    ("sum({halter_task_worker_concurrency})", "limit"),
                    ("sum({halter_task_worker_waiting})", "waiting"),
                ),
            ),
            Panel("Handlers", "How long they take.", quantiles("halter_task_worker_handler_seconds", "task_def"), "s"),
            Panel(
                "In the queue",
                "From the request until a handler begins.",
                quantiles("halter_task_worker_queue_seconds", "task_def"),
                "s",
            ),
        ),
    ),
    Row(
        "Turns, transactions and restores",
        (
            Panel("Turns", "From the poll to the end of the transaction.", quantiles("halter_turn_seconds"), "s"),
            Panel("Folds", "Of a whole turn.", quantiles("halter_fold_seconds"), "s"),
            Panel("Commits", "Slow commits are slow brokers.", quantiles("halter_commit_seconds"), "s"),
            Panel(
                "Aborted turns, pauses",
                "Rebalances and brokers that are away abort turns. A broken rule pauses.",
                (
                    ("sum(increase({halter_aborted_turns_total}[$__rate_interval]))", "aborted"),
                    ("sum(increase({halter_pauses_total}[$__rate_interval]))", "pauses"),
                ),
            ),
            Panel(
                "Restored",
                "How much of the state of each partition was read.",
                (("min by (partition) ({halter_partition_restored_ratio})", "{{partition}}"),),
                "percentunit",
            ),
            Panel(
                "Time for a load",
                "From being given partitions until they are folded.",
                quantiles("halter_load_seconds"),
                "s",
            ),
        ),
    ),
    Row(
        "Dead letters, bindings and sinks",
        (
            Panel(
                "Dead letters",
                "Of workers by reason, of bindings and sinks by process.",
                (
                    ("sum by (reason) (increase({halter_dead_letters_total}[$__rate_interval]))", "{{reason}}"),
                    (
                        "sum by (instance) (increase({halter_transform_dead_letters_total}[$__rate_interval]))",
                        "{{instance}}",
                    ),
                ),
            ),
            Panel(
                "Bindings and sinks: offsets behind",
                "Marks of transactions count, so 1 or 2 may stay.",
                (("sum by (instance) ({halter_transform_lag_offsets})", "{{instance}}"),),
            ),
            Panel(
                "Bindings and sinks: transactions",
                "How long they take.",
                quantiles("halter_transform_transaction_seconds", "instance"),
                "s",
            ),
        ),
    ),
    Row(
        "View and console",
        (
            Panel(
                "View: offsets behind",
                "What is not in the view yet.",
                (("sum by (instance) ({halter_view_lag_offsets})", "{{instance}}"),),
            ),
            Panel(
                "View: rows and records",
                "Rows that are written, and records that are read.",
                (
                    ("sum(rate({halter_view_rows_total}[$__rate_interval]))", "rows"),
                    ("sum(rate({halter_view_records_total}[$__rate_interval]))", "records"),
                ),
                "ops",
            ),
            Panel(
                "Console: requests",
                "By status, with those that were refused by code.",
                (
                    (rate("halter_console_requests_total", "status"), "{{status}}"),
                    (rate("halter_console_refusals_total", "code"), "refused: {{code}}"),
                ),
                "ops",
            ),
        ),
    ),
    Row(
        "Processes and stores",
        (
            Panel(
                "Memory", "Resident.", (('{process_resident_memory_bytes | job=~"halter.*"}', "{{instance}}"),), "bytes"
            ),
            Panel(
                "Processor",
                "1 is a whole core.",
                (('rate({process_cpu_seconds_total | job=~"halter.*"}[$__rate_interval])', "{{instance}}"),),
            ),
            Panel(
                "Stores",
                "Files of RocksDB, and what is left on their disk.",
                (
                    ("sum by (instance) ({halter_store_bytes})", "{{instance}}"),
                    ("min by (instance) ({halter_store_free_bytes})", "free: {{instance}}"),
                ),
                "bytes",
            ),
        ),
    ),
)


def expression(text: str) -> str:
    """Return an expression with its metrics looked up and the selector of the dashboard put in."""

    def named(found: re.Match[str]) -> str:
        metric, selectors = TABLE[found[1]], found[2].strip(" |")
        for label in re.findall(r"(\w+)\s*[=!]~?", selectors):
            expect_label(metric, label)
        name = f"{metric.name}_bucket" if metric.kind == HISTOGRAM else metric.name
        return f"{name}{{{', '.join(filter(None, (selectors, SELECTOR)))}}}"

    metrics = [TABLE[it[1]] for it in NAMED.finditer(text)]
    for by in re.findall(r"by \(([\w, ]+)\)", text):
        for label in by.split(", "):
            for metric in metrics:
                expect_label(metric, label)
    return NAMED.sub(named, text)


def expect_label(metric: Metric, label: str) -> None:
    """Raise an AssertionError if no process gives the metric that label."""
    own = {*metric.labels, "instance", "job", *(["le"] if metric.kind == HISTOGRAM else [])}
    assert label in own, f"{metric.name} has no label {label}: it has {sorted(own)}"


def panel(it: Panel, number: int, x: int, y: int) -> dict[str, Any]:
    """Return a panel as Grafana has it."""
    steps = [{"color": GREEN, "value": None}]
    steps += [{"color": colour, "value": value} for value, colour in it.alarms if value]
    if it.alarms and it.alarms[0][0] == 0:
        steps[0]["color"] = it.alarms[0][1]
    custom: dict[str, Any] = {"lineWidth": 1, "fillOpacity": 10, "showPoints": "never"}
    if it.stacked:
        custom |= {"stacking": {"mode": "normal", "group": "A"}, "fillOpacity": 30}
    if it.alarms:
        custom |= {"thresholdsStyle": {"mode": "line"}}
    is_stat = it.kind == "stat"
    defaults: dict[str, Any] = {"unit": it.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}}
    if is_stat:
        defaults["decimals"] = 0  # an increase over time is no whole number, and what it counts is
    return {
        "id": number,
        "type": it.kind,
        "title": it.title,
        "description": it.says,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "gridPos": {"x": x, "y": y, "w": it.width, "h": 4 if is_stat else 8},
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": {"type": "prometheus", "uid": "${datasource}"},
                "expr": expression(query),
                "legendFormat": legend or "__auto",
                "range": not is_stat,
                "instant": is_stat,
            }
            for index, (query, legend) in enumerate(it.queries)
        ],
        "fieldConfig": {"defaults": defaults if is_stat else defaults | {"custom": custom}, "overrides": []},
        "options": {"colorMode": "background", "graphMode": "none", "reduceOptions": {"calcs": ["lastNotNull"]}}
        if is_stat
        else {
            "legend": {"showLegend": True, "displayMode": "list", "placement": "bottom"},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    }


def panels(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Yield all panels, row under row."""
    number, y = 0, 0
    for row in rows:
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": row.title,
            "collapsed": False,
            "panels": [],
            "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1},
        }
        y, x, height = y + 1, 0, 0
        for it in row.panels:
            if x + it.width > WIDTH:
                y, x = y + height, 0
            number += 1
            made = panel(it, number, x, y)
            yield made
            x, height = x + it.width, made["gridPos"]["h"]
        y += height


def dashboard() -> dict[str, Any]:
    """Return the whole dashboard."""
    data_source = {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "hide": 0,
    }
    instance = {
        "name": "instance",
        "label": "Instance",
        "type": "query",
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "query": {"query": 'label_values(process_start_time_seconds{job=~"halter.*"}, instance)', "refId": "instances"},
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
        "hide": 0,
    }
    return {
        "uid": "halter",
        "title": "Halter",
        "description": "Workers, task workers, bindings and sinks. docs/operations.md says what to do.",
        "tags": ["halter"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "",
        "templating": {"list": [data_source, instance]},
        "annotations": {"list": []},
        "panels": list(panels(ROWS)),
    }


def main() -> int:
    """Rewrite the file, or compare it."""
    wanted = json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n"
    if "--check" not in sys.argv[1:]:
        FILE.write_text(wanted, encoding="utf-8")
        return 0
    if FILE.read_text(encoding="utf-8") == wanted:
        return 0
    print(f"{FILE} differs from the code: run `python -m docs.dashboard`", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())

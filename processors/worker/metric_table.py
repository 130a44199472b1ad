"""The table of metrics: every metric of every process of Halter, with its type, labels and meaning.

A process can expose only what stands here (`exposition`). The manual, the dashboard and the checks of the alert rules
are made from it, so none of them names a metric that does not exist. Names follow Prometheus: base units, `_total` for
counters. No label holds an id of a WfRun. Names that users choose are told apart up to a number of them.

Knows no library and no value.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from processors.core.records.events import RejectionCode
from processors.core.records.model import HALT_REASON_KINDS, Status, TaskStatus
from processors.fold.inputs import DeadLetterReason
from processors.fold.tally import BUSINESS
from processors.measuring import NAMES_MAX, OTHER

GAUGE, COUNTER, HISTOGRAM = "gauge", "counter", "histogram"

LABELS: Final[Mapping[str, str]] = {
    "partition": "number of a partition",
    "topic": "name of an input topic, without the prefix",
    "wf_spec": f"name of a WfSpec: the first {NAMES_MAX} that a process meets, then `{OTHER}`",
    "task_def": f"name of a TaskDef: the first {NAMES_MAX} that a process meets, then `{OTHER}`",
    "status": f"{', '.join(f'`{it}`' for it in dict.fromkeys((*Status, *TaskStatus)))}; of a console: of HTTP",
    "halt_reason": ", ".join(f"`{it}`" for it in HALT_REASON_KINDS.values()),
    "command": "name of a command record",
    "code": f"{', '.join(f'`{it}`' for it in RejectionCode)}; of a console: a code of its API",
    "reason": f"{', '.join(f'`{it}`' for it in DeadLetterReason)}; of a console: why it dropped a client",
    "failure": f"name of a technical failure, or `{BUSINESS}`",
    "retried": "`yes`, `no`",
    "kind": "`TASK_TIMEOUT`, `TASK_BACKOFF`, `EXTERNAL_EVENT_TIMEOUT`, `SLEEP`, `RETENTION`",
    "what": "`succeeded`, `exceptions`, `failed`, `cancelled`, `expired`, `started`",
    "way": "how somebody logs in to a console",
    "outcome": "what came of it",
    "action": "name of an action of a console",
    "source": "a partition that is read, as `topic[partition]`",
}
"""Every label -> its values."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. A counter's name ends in `_total`."""

    name: str
    kind: str
    says: str
    labels: tuple[str, ...] = ()
    only: str = ""
    """When it is exposed, if not always."""


WORKER: Final = (
    Metric("halter_ready", GAUGE, "1 if the worker folds all of its partitions."),
    Metric("halter_partition_paused", GAUGE, "1 if the partition waits for an operator.", ("partition",)),
    Metric("halter_partition_restoring", GAUGE, "1 if the partition's state is still being read.", ("partition",)),
    Metric("halter_partition_restored_ratio", GAUGE, "Share of the partition's state that was read.", ("partition",)),
    Metric("halter_load_seconds", HISTOGRAM, "Time from being given partitions until they are folded."),
    Metric("halter_records_total", COUNTER, "Input records that were folded and committed.", ("topic",)),
    Metric("halter_output_records_total", COUNTER, "Records that were written."),
    Metric("halter_timers_fired_total", COUNTER, "Timers that were due, and became records."),
    Metric("halter_lag_offsets", GAUGE, "Offsets of an input that are not folded.", ("topic", "partition")),
    Metric(
        "halter_oldest_unfolded_record_age_seconds",
        GAUGE,
        "Age of the oldest input record that is not folded, 0 if there is none.",
        ("partition",),
    ),
    Metric("halter_turn_seconds", HISTOGRAM, "Time from polling a turn's records to the end of its transaction."),
    Metric("halter_fold_seconds", HISTOGRAM, "Time for folding a turn."),
    Metric("halter_commit_seconds", HISTOGRAM, "Time for committing a turn."),
    Metric("halter_aborted_turns_total", COUNTER, "Turns that could not be committed: rebalances, brokers away."),
    Metric("halter_pauses_total", COUNTER, "Times that a rule broke on a partition."),
    Metric("halter_quarantined_wf_runs", GAUGE, "WfRuns in quarantine.", ("partition",)),
    Metric(
        "halter_wf_runs",
        GAUGE,
        "WfRuns in the state, by status; those that have ended stay until their retention ends.",
        ("wf_spec", "status"),
    ),
    Metric("halter_wf_runs_started_total", COUNTER, "WfRuns that were started.", ("wf_spec",)),
    Metric("halter_wf_runs_ended_total", COUNTER, "WfRuns that have ended.", ("wf_spec", "status")),
    Metric("halter_held_threads", GAUGE, "Threads that a halt reason holds.", ("halt_reason",)),
    Metric(
        "halter_oldest_hold_age_seconds",
        GAUGE,
        "Time for which a halt reason has held the thread that it has held longest.",
        ("halt_reason",),
    ),
    Metric("halter_thread_failures_total", COUNTER, "Threads that have failed.", ("failure",)),
    Metric("halter_rejections_total", COUNTER, "Commands that were refused.", ("command", "code")),
    Metric("halter_ignored_total", COUNTER, "Commands that had nothing to do.", ("command",)),
    Metric("halter_dead_letters_total", COUNTER, "Records that became dead letters.", ("reason",)),
    Metric(
        "halter_armed_timers",
        GAUGE,
        "Timers that are armed: a TASK_TIMEOUT is a task attempt that is out, a TASK_BACKOFF one that will be retried.",
        ("kind",),
    ),
    Metric("halter_task_attempts_requested_total", COUNTER, "Task attempts that were requested.", ("task_def",)),
    Metric(
        "halter_task_attempts_ended_total",
        COUNTER,
        "Task attempts that have ended, TIMEOUT among them; `retried` if another follows.",
        ("status", "retried"),
    ),
    Metric("halter_store_bytes", GAUGE, "Size of a partition's files.", ("partition",), "with `HALTER_STORE=rocksdb`"),
    Metric(
        "halter_store_free_bytes",
        GAUGE,
        "Room that is left on the disk of the store.",
        (),
        "with `HALTER_STORE=rocksdb`",
    ),
)
TASK_WORKER: Final = (
    Metric("halter_task_worker_ready", GAUGE, "1 if its group has given it its partitions, perhaps none."),
    Metric("halter_task_worker_running", GAUGE, "Handlers that run."),
    Metric("halter_task_worker_concurrency", GAUGE, "The most handlers that may run at once."),
    Metric("halter_task_worker_waiting", GAUGE, "Attempts that were taken and wait for a handler to be free."),
    Metric("halter_task_worker_attempts_total", COUNTER, "Attempts, by what became of them.", ("what",)),
    Metric("halter_task_worker_handler_seconds", HISTOGRAM, "Time that handlers took.", ("task_def",)),
    Metric(
        "halter_task_worker_queue_seconds",
        HISTOGRAM,
        "Time from the request of an attempt until its handler began.",
        ("task_def",),
    ),
)
TRANSFORM: Final = (
    Metric("halter_transform_ready", GAUGE, "1 if it reads and writes."),
    Metric("halter_transform_records_total", COUNTER, "Records that were read, and whose effects are committed."),
    Metric("halter_transform_outputs_total", COUNTER, "Records that were written for them, dead letters included."),
    Metric("halter_transform_dead_letters_total", COUNTER, "Records that could not be mapped."),
    Metric("halter_transform_transactions_total", COUNTER, "Transactions that were committed."),
    Metric(
        "halter_transform_aborted_total",
        COUNTER,
        "Transactions that were made again: rebalances, brokers that are away.",
    ),
    Metric("halter_transform_transaction_seconds", HISTOGRAM, "Time for writing and committing a transaction."),
    Metric(
        "halter_transform_lag_offsets",
        GAUGE,
        "Offsets behind what it has read; marks of transactions count, so 1 or 2 may stay.",
        ("source",),
    ),
    Metric("halter_transform_waiting", GAUGE, "1 if it waits because Kafka, or a Schema Registry, does not answer."),
)
VIEW: Final = (
    Metric("halter_view_ready", GAUGE, "1 if the view is filled and current."),
    Metric("halter_view_records_total", COUNTER, "Records of the log and of dead letters that were read."),
    Metric("halter_view_rows_total", COUNTER, "Rows that were written."),
    Metric("halter_view_transactions_total", COUNTER, "Transactions that were committed."),
    Metric("halter_view_rebuilds_total", COUNTER, "How often the view was built anew."),
    Metric("halter_view_lag_offsets", GAUGE, "Offsets that are not read yet.", ("partition",)),
)
CONSOLE: Final = (
    Metric("halter_console_requests_total", COUNTER, "Requests that were answered, by status.", ("status",)),
    Metric("halter_console_refusals_total", COUNTER, "Requests that were refused, by code.", ("code",)),
    Metric("halter_console_logins_total", COUNTER, "Attempts to log in, by way and outcome.", ("way", "outcome")),
    Metric("halter_console_actions_total", COUNTER, "Actions, by name and outcome.", ("action", "outcome")),
    Metric("halter_console_live_clients", GAUGE, "Clients of live events."),
    Metric(
        "halter_console_live_dropped_total",
        COUNTER,
        "Clients of live events that were dropped, by reason.",
        ("reason",),
    ),
)
PROCESS: Final = (
    Metric("process_cpu_seconds_total", COUNTER, "Processor time, user and system."),
    Metric("process_resident_memory_bytes", GAUGE, "Resident memory.", (), "on Linux"),
    Metric("process_virtual_memory_bytes", GAUGE, "Virtual memory.", (), "on Linux"),
    Metric("process_start_time_seconds", GAUGE, "When the process started, in seconds since 1970.", (), "on Linux"),
    Metric("process_open_fds", GAUGE, "Open files.", (), "on Linux"),
    Metric("process_max_fds", GAUGE, "The most files that may be open.", (), "on Linux"),
)
"""What the library says of every process, on Linux."""

PROCESSES: Final[Mapping[str, tuple[Metric, ...]]] = {
    "halter worker": WORKER,
    "halter task-worker": TASK_WORKER,
    "halter bind run, halter sink run": TRANSFORM,
    "halter view": VIEW,
    "halter console": CONSOLE,
}
"""The command of each process -> its own metrics."""

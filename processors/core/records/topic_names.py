"""The names of Halter's topics, as topics.yaml and the records have them: without the prefix of an installation.

What each topic is for, and its name on a cluster, `processors.kafka.topics` knows.
"""

from typing import Final

# What comes in.
WF_COMMANDS: Final = "wf-commands"
EXTERNAL_EVENTS: Final = "external-events"
TASK_REPORTS: Final = "task-reports"
DEFINITION_COMMANDS: Final = "definition-commands"
OPERATOR_COMMANDS: Final = "operator-commands"
CORRELATED_EVENTS: Final = "correlated-events"
CORRELATION_COMMANDS: Final = "correlation-commands"

# What comes out.
WF_EVENTS: Final = "wf-events"
DEFINITION_EVENTS: Final = "definition-events"
CORRELATION_EVENTS: Final = "correlation-events"
TASK_REQUESTS: Final = "task-requests"
TASK_CANCELLATIONS: Final = "task-cancellations"
DEAD_LETTERS: Final = "dead-letters"

# State.
DEFINITIONS: Final = "definitions"
WF_RUNS: Final = "wf-runs"
THREAD_RUNS: Final = "thread-runs"
WF_RUN_EXTERNAL_EVENTS: Final = "wf-run-external-events"
KEPT_INPUTS: Final = "kept-inputs"
FOLD_POSITIONS: Final = "fold-positions"
CORRELATIONS: Final = "correlations"

SHARD_STATE: Final = (WF_RUNS, THREAD_RUNS, WF_RUN_EXTERNAL_EVENTS, KEPT_INPUTS, FOLD_POSITIONS)
"""The state topics of WfRuns, which are co-partitioned with the inputs. A shard is restored from these and from
CORRELATIONS.
"""

QUEUE_PREFIX: Final = "task-requests-"
"""Begins the name of a named task queue's topic."""


def task_requests_of(queue: str | None) -> str:
    """Return the topic of a named task queue, of the default queue for None."""
    return TASK_REQUESTS if queue is None else QUEUE_PREFIX + queue

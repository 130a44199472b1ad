"""`halter quarantine | release | skip`: get a partition past a record for which a rule raises an exception.

The error that a worker logs names the partition, the record and the WfRun, and spells out these commands.
"""

from typing import Annotated

import typer

from halter.cli.asked import Operator, Reason, who
from halter.cli.client import Json, Timeout, WfRunId, connected
from halter.cli.connection import Kafka, asks_kafka
from halter.cli.runs import report


@asks_kafka
def quarantine(
    wf_run_id: WfRunId,
    reason: Reason = None,
    operator: Operator = None,
    timeout: Timeout = 30.0,
    as_json: Json = False,
    *,
    kafka: Kafka,
) -> None:
    """Keep a WfRun's records aside, unhandled, until 'halter release'.

    Use it when a rule raises an exception for this WfRun and its partition stands still: the other WfRuns of the
    partition go on.

    - `halter quarantine order-41 --reason "the interrupt at pay breaks, see #212"`

    Exit codes: 0 done, 1 refused or an error, 2 wrong options.
    """
    with connected(kafka) as client:
        report(client, client.quarantine(wf_run_id, reason, operator or who()), timeout, as_json=as_json)


@asks_kafka
def release(
    wf_run_id: WfRunId,
    reason: Reason = None,
    operator: Operator = None,
    timeout: Timeout = 30.0,
    as_json: Json = False,
    *,
    kafka: Kafka,
) -> None:
    """End a quarantine: handle the kept records in order, with the time at which each arrived.

    - `halter release order-41`

    Exit codes: 0 done, 1 refused or an error, 2 wrong options.
    """
    with connected(kafka) as client:
        report(client, client.release(wf_run_id, reason, operator or who()), timeout, as_json=as_json)


@asks_kafka
def skip(
    topic: Annotated[
        str, typer.Argument(metavar="TOPIC", help="Topic of the record, without the prefix.", show_default=False)
    ],
    partition: Annotated[
        int, typer.Argument(metavar="PARTITION", min=0, help="Partition of the record.", show_default=False)
    ],
    offset: Annotated[int, typer.Argument(metavar="OFFSET", min=0, help="Offset of the record.", show_default=False)],
    reason: Reason = None,
    operator: Operator = None,
    timeout: Timeout = 30.0,
    as_json: Json = False,
    *,
    kafka: Kafka,
) -> None:
    """Pass over the one record at which a partition stands still, for good.

    The record goes to the topic dead-letters, and whoever waits for its outcome is told. Prefer 'halter quarantine'
    if the WfRun can wait.

    - `halter skip external-events 3 1041 --reason "breaks the decoder, see #213"`

    The command returns when the partition is past the record. If another record is at its place by then, that one is
    handled as usual.

    Exit codes: 0 done, 1 refused or an error, 2 wrong options.
    """
    from halter.client.skipping import check_partition

    with connected(kafka, expecting=lambda topics: check_partition(topics, topic, partition)) as client:
        report(client, client.skip(topic, partition, offset, reason, operator or who()), timeout, as_json=as_json)

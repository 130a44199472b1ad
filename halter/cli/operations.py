"""`halter quarantine | release | skip`: get a partition past a record for which a rule raises an exception.

The error that a worker logs names the partition, the record and the WfRun, and spells out these commands.
"""

import getpass
from typing import Annotated

import typer

from halter.cli.client import Json, Timeout, WfRunId, connected
from halter.cli.connection import (
    CONNECT_SECONDS,
    Bootstrap,
    ConnectTimeout,
    Prefix,
    Properties,
    PropertiesFile,
)
from halter.cli.runs import report

Reason = Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why you do this. It is kept on the log.")]
Operator = Annotated[
    str | None,
    typer.Option("--operator", metavar="NAME", help="Who does this. It is kept on the log. Default: your user name."),
]


def quarantine(
    wf_run_id: WfRunId,
    reason: Reason = None,
    operator: Operator = None,
    timeout: Timeout = 30.0,
    as_json: Json = False,
    bootstrap: Bootstrap = None,
    properties_file: PropertiesFile = None,
    properties: Properties = None,
    prefix: Prefix = None,
    connect_timeout: ConnectTimeout = CONNECT_SECONDS,
) -> None:
    """Keep a WfRun's records aside, unhandled, until 'halter release'.

    Use it when a rule raises an exception for this WfRun and its partition stands still: the other WfRuns of the
    partition go on.

    - `halter quarantine order-41 --reason "the interrupt at pay breaks, see #212"`

    Exit codes: 0 done, 1 refused or an error, 2 wrong options.
    """
    with connected(bootstrap, properties_file, properties, prefix, connect_timeout) as client:
        report(client, client.quarantine(wf_run_id, reason, operator or who()), timeout, as_json=as_json)


def release(
    wf_run_id: WfRunId,
    reason: Reason = None,
    operator: Operator = None,
    timeout: Timeout = 30.0,
    as_json: Json = False,
    bootstrap: Bootstrap = None,
    properties_file: PropertiesFile = None,
    properties: Properties = None,
    prefix: Prefix = None,
    connect_timeout: ConnectTimeout = CONNECT_SECONDS,
) -> None:
    """End a quarantine: handle the kept records in order, with the time at which each arrived.

    - `halter release order-41`

    Exit codes: 0 done, 1 refused or an error, 2 wrong options.
    """
    with connected(bootstrap, properties_file, properties, prefix, connect_timeout) as client:
        report(client, client.release(wf_run_id, reason, operator or who()), timeout, as_json=as_json)


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
    bootstrap: Bootstrap = None,
    properties_file: PropertiesFile = None,
    properties: Properties = None,
    prefix: Prefix = None,
    connect_timeout: ConnectTimeout = CONNECT_SECONDS,
) -> None:
    """Pass over the one record at which a partition stands still, for good.

    The record goes to the topic dead-letters, and whoever waits for its outcome is told. Prefer 'halter quarantine'
    if the WfRun can wait.

    - `halter skip external-events 3 1041 --reason "breaks the decoder, see #213"`

    The command returns when the partition is past the record. If another record is at its place by then, that one is
    handled as usual.

    Exit codes: 0 done, 1 refused or an error, 2 wrong options.
    """
    with connected(bootstrap, properties_file, properties, prefix, connect_timeout) as client:
        report(client, client.skip(topic, partition, offset, reason, operator or who()), timeout, as_json=as_json)


def who() -> str | None:
    """Return the user name of whoever runs the command."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in containers
        return None

"""`halter quarantine | release | skip`: getting a partition past a record on which a rule of ours breaks.

The error that a worker logs names the partition, the record and the WfRun, and spells these commands out.
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

Reason = Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why: it stands on the log, for people.")]
Operator = Annotated[
    str | None,
    typer.Option("--operator", metavar="NAME", help="Who: it stands on the log. Default: your user name."),
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
    """Keep what comes for a WfRun instead of deciding it, so that its partition goes on; until `halter release`.

    - `halter quarantine order-41 --reason "the interrupt at pay breaks, see #212"`

    Exit codes: 0 done, 1 refused or an error, 2 usage.
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
    """End a quarantine: what was kept is decided, in order, as of when it came.

    - `halter release order-41`

    Exit codes: 0 done, 1 refused or an error, 2 usage.
    """
    with connected(bootstrap, properties_file, properties, prefix, connect_timeout) as client:
        report(client, client.release(wf_run_id, reason, operator or who()), timeout, as_json=as_json)


def skip(
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="Without the prefix.", show_default=False)],
    partition: Annotated[int, typer.Argument(metavar="PARTITION", min=0, show_default=False)],
    offset: Annotated[int, typer.Argument(metavar="OFFSET", min=0, show_default=False)],
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
    """Pass over the record at which a partition stands, for good: it goes to dead-letters, and whoever waits for its
    outcome is told. Where a WfRun may wait, prefer `halter quarantine`.

    - `halter skip external-events 3 1041 --reason "breaks the decoder, see #213"`

    It is done when the partition is past the record. If another record comes in its place, nothing is passed over.

    Exit codes: 0 done, 1 refused or an error, 2 usage.
    """
    with connected(bootstrap, properties_file, properties, prefix, connect_timeout) as client:
        report(client, client.skip(topic, partition, offset, reason, operator or who()), timeout, as_json=as_json)


def who() -> str | None:
    """The name of whoever types this."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in containers
        return None

"""Who runs a command that changes WfRuns, and why: the options, and the default. The log keeps both."""

import getpass
from typing import TYPE_CHECKING, Annotated, TypedDict

import typer

from halter.cli.given import operator_or_reason

if TYPE_CHECKING:
    from halter.client import Client

Reason = Annotated[
    str | None,
    typer.Option(
        "--reason", metavar="TEXT", help="Why you do this. It is kept on the log.", callback=operator_or_reason
    ),
]
Operator = Annotated[
    str | None,
    typer.Option(
        "--operator",
        metavar="NAME",
        help="Who does this. It is kept on the log. Default: your user name.",
        callback=operator_or_reason,
    ),
]


class WhoAndWhy(TypedDict):
    """Arguments of the client's methods."""

    operator: str | None
    reason: str | None


def who() -> str | None:
    """Return the user name of whoever runs the command."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in containers
        return None


def asked(client: "Client", operator: str | None, reason: str | None) -> WhoAndWhy:
    """Return who asks and why, as arguments for the client.

    While workers of an earlier release may run (HALTER_SCHEMAS), nobody is named who is not given: they cannot read it.
    """
    can_name = client.codec.writes("StopWfRun", "operator")
    return {"operator": operator or (who() if can_name else None), "reason": reason}

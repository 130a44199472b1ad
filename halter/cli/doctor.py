"""`halter doctor`: parses options and prints a report. `halter.doctor` examines."""

import os
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from halter.cli.client import Json
from halter.cli.connection import Kafka, Partitions, TopicsFile, asks_kafka, load_settings, patience
from halter.cli.ending import ends_at_once
from halter.cli.printing import print_json, styled, terminal_width
from halter.cli.usage import BadOptions

if TYPE_CHECKING:
    from halter.doctor.findings import Verdict

WRONG, WARNINGS = 1, 3
COLOURS: Final = {"fine": "green", "unknown": "magenta", "warning": "yellow", "wrong": "red"}


@asks_kafka
def doctor(
    service: Annotated[
        str | None,
        typer.Option("--service", metavar="NAME", help="Check the rights of this service of topics.yaml."),
    ] = None,
    health: Annotated[
        list[str] | None,
        typer.Option(
            "--health",
            metavar="HOST:PORT",
            help="Ask the process that answers probes there. May be repeated. Default: HALTER_HEALTH_PORT.",
        ),
    ] = None,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Try no transaction. The clocks of brokers are then not measured.")
    ] = False,
    show_all: Annotated[bool, typer.Option("--all", help="Say of each check that was skipped why.")] = False,
    as_json: Json = False,
    *,
    kafka: Kafka,
    partitions: Partitions = None,
    topics_file: TopicsFile = None,
) -> None:
    """Look at an installation, say what is wrong with it, and how to mend that.

    It looks at brokers, rights, topics, replicas, transactions, clocks, workers, what waits to be folded, paused
    partitions, quarantine, task workers, dead letters, schemas, the Schema Registry, the view and health ports. It
    changes nothing, and leaves no record: the one that it writes is aborted.

    - `halter doctor`
    - `halter doctor --service task-worker --json`
    - `halter doctor --health 10.0.0.7:8080 --health 10.0.0.8:8080`

    Exit codes: 0 fine, 1 something is wrong, 2 wrong options, 3 warnings, or something could not be found out.
    """
    settings = load_settings(kafka, partitions=partitions, topics_file=topics_file)
    from halter.doctor.checkup import Wanted, checkup
    from halter.doctor.findings import Verdict, worst
    from halter.doctor.report import data, lines

    for address in health or ():
        if not address.rpartition(":")[2].isdecimal() or "/" in address:
            raise BadOptions(f"--health: expected HOST:PORT, found '{address}'")
    view = os.environ.get("HALTER_VIEW") or None
    wanted = Wanted(service, not read_only, view, *_health(health), connect_s=kafka.connect_timeout)
    with patience(), ends_at_once():
        found = checkup(settings, wanted)
        if as_json:
            where = {"bootstrap": settings.bootstrap, "prefix": settings.prefix, "environment": settings.environment}
            print_json(data(found, **where))
        else:
            for line in lines(found, _style, terminal_width(), all_of_it=show_all):
                typer.echo(line)
            if found.unreachable is not None:
                raise found.unreachable
    verdict = worst(found.examined)
    if verdict is Verdict.WRONG:
        raise typer.Exit(WRONG)
    if verdict in {Verdict.WARNING, Verdict.UNKNOWN}:
        raise typer.Exit(WARNINGS)


def _health(named: list[str] | None) -> tuple[list[str], bool]:
    """Return the addresses of probes, and whether they were given as options."""
    if named:
        return named, True
    port = os.environ.get("HALTER_HEALTH_PORT")
    host = os.environ.get("HALTER_HEALTH_HOST") or "127.0.0.1"
    return ([f"{host}:{port}"] if port else []), False


def _style(word: str, verdict: "Verdict") -> str:
    bold: dict[str, Any] = {"bold": True} if verdict == "wrong" else {}
    return styled(word, fg=COLOURS.get(verdict), **bold)

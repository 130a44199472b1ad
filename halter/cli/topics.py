"""`halter topics plan | apply | acls | asyncapi`: parses options and prints results. `halter.topics` does the work."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from halter.cli.client import Json
from halter.cli.connection import (
    CONNECT_SECONDS,
    Cluster,
    ConnectTimeout,
    Partitions,
    TopicsFile,
    asks_kafka,
    load_settings,
    patience,
    waiting_for_kafka,
)
from halter.cli.ending import ends_at_once
from halter.cli.usage import UsageMistake, confirm
from halter.show.counting import counted

if TYPE_CHECKING:
    from halter.topics.admin import Plan, Replication
    from processors.kafka.settings import Settings
    from processors.kafka.topics import Topics

PENDING = 3
REFUSED = 4

app = typer.Typer(no_args_is_help=True, help="Compare the cluster with topics.yaml, create topics, print rights.")
TLS: Final = frozenset({"ssl", "sasl_ssl"})
"""Values of security.protocol with which clients speak TLS."""

Copies = Annotated[
    str | None,
    typer.Option(
        "--replication",
        metavar="N|auto",
        help="Replicas of new topics; auto: three, or as many as there are brokers. Default: as in topics.yaml.",
    ),
]
EXIT_CODES = f"Exit codes: 0 nothing to do or done, 1 error, {PENDING} the plan has changes, {REFUSED} refused."
PLAN_EXAMPLES = "Examples: `halter topics plan -b kafka:9092`, `halter topics plan --json`. " + EXIT_CODES
APPLY_EXAMPLES = "Example, for one broker: `halter topics apply --yes --replication auto`. " + EXIT_CODES


class BadReplication(UsageMistake):
    """--replication is neither a number nor auto. Whoever typed it corrects it."""


@app.command("plan", epilog=PLAN_EXAMPLES)
@asks_kafka
def show_plan(
    replication: Copies = None,
    partitions: Partitions = None,
    as_json: Json = False,
    *,
    cluster: Cluster,
    topics_file: TopicsFile = None,
    connect_timeout: ConnectTimeout = CONNECT_SECONDS,
) -> None:
    """Show how the cluster differs from topics.yaml. Changes nothing."""
    settings = load_settings(cluster, partitions=partitions, topics_file=topics_file)
    with patience():
        planned, _ = make_plan(settings, replication, connect_timeout)
    typer.echo(json.dumps(as_data(planned), indent=2) if as_json else "\n".join(lines(planned)))
    if planned.refused:
        raise typer.Exit(REFUSED)
    if planned.pending:
        raise typer.Exit(PENDING)


@app.command("apply", epilog=APPLY_EXAMPLES)
@asks_kafka
def apply_plan(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    replication: Copies = None,
    partitions: Partitions = None,
    as_json: Json = False,
    *,
    cluster: Cluster,
    topics_file: TopicsFile = None,
    connect_timeout: ConnectTimeout = CONNECT_SECONDS,
) -> None:
    """Create and configure topics as topics.yaml says. Deletes no topic and changes no number of partitions."""
    from halter.topics.admin import Action, apply

    settings = load_settings(cluster, partitions=partitions, topics_file=topics_file)
    with patience():
        planned, admin = make_plan(settings, replication, connect_timeout)
    typer.echo("\n".join(lines(planned)), err=as_json)
    if planned.refused:
        typer.echo("Nothing was changed: a change was refused, see the lines that begin with !.", err=True)
        if as_json:
            typer.echo(json.dumps(as_data(planned) | {"applied": False}, indent=2))
        raise typer.Exit(REFUSED)
    if planned.pending and not yes:
        where = f"{settings.environment} at {settings.bootstrap}" if settings.environment else settings.bootstrap
        confirm(f"Apply this to {where}?", f"nothing was changed at {where}")
    with ends_at_once(), settings.explaining("applying topics.yaml", admin):
        apply(planned, admin)
    if as_json:
        typer.echo(json.dumps(as_data(planned) | {"applied": True}, indent=2))
    else:
        created, altered = planned.with_action(Action.CREATE), planned.with_action(Action.ALTER)
        typer.echo(f"Done: {len(created)} created, {len(altered)} altered.")


@app.command("acls", epilog="Example: `halter topics acls --service worker`. This only prints: it grants nothing.")
@asks_kafka
def show_acls(
    service: Annotated[str | None, typer.Option("--service", help="Print only the rights of this service.")] = None,
    as_json: Json = False,
    *,
    cluster: Cluster,
    topics_file: TopicsFile = None,
) -> None:
    """Print the rights that each service needs, as kafka-acls commands.

    The section 'services' of topics.yaml lists them.
    """
    from halter.topics.acls import acls, commands

    settings = load_settings(cluster, topics_file=topics_file)
    rights = acls(settings.topics(), service)
    if as_json:
        typer.echo(json.dumps([asdict(acl) for acl in rights], indent=2))
    else:
        typer.echo("\n".join(commands(rights, settings.bootstrap)))


@app.command("asyncapi", epilog="Example: `halter topics asyncapi --prefix shop- > asyncapi.yaml`.")
@asks_kafka
def show_asyncapi(
    service: Annotated[
        str | None, typer.Option("--service", help="Describe only what this service reads and writes.")
    ] = None,
    as_json: Json = False,
    partitions: Partitions = None,
    *,
    cluster: Cluster,
    topics_file: TopicsFile = None,
) -> None:
    """Print this installation as an AsyncAPI 3 document: topics, keys, schemas, and who reads and writes what.

    It asks no cluster: all of it follows from topics.yaml and the schemas.
    """
    from importlib.metadata import version

    from halter import DISTRIBUTION
    from halter.topics.asyncapi import as_yaml, document
    from processors.codec import Schemas

    settings = load_settings(cluster, partitions=partitions, topics_file=topics_file)
    described = document(
        settings.topics(),
        Schemas.load(),
        version(DISTRIBUTION),
        settings.bootstrap,
        tls=settings.properties.get("security.protocol", "").lower() in TLS,
        service=service,
    )
    typer.echo(json.dumps(described, indent=2, ensure_ascii=False) + "\n" if as_json else as_yaml(described), nl=False)


def make_plan(settings: "Settings", replication: str | None, connect_timeout: float) -> "tuple[Plan, Any]":
    """Return the plan for a cluster, and the admin client that asked the cluster."""
    from confluent_kafka.admin import AdminClient

    from halter.topics.admin import plan

    wanted: Topics = settings.topics()
    copies = read_replication(replication)
    admin = AdminClient(settings.admin())
    with waiting_for_kafka(settings, connect_timeout):
        settings.reach(admin, wanted.wf_events, connect_timeout)
    with settings.explaining("comparing the cluster with topics.yaml", admin):
        return plan(wanted, admin, copies), admin


def read_replication(text: str | None) -> "Replication":
    """Parse the option: a number, `auto` or nothing."""
    if text is None or text == "auto":
        return text  # type: ignore[return-value]  # mypy does not narrow str to a Literal
    if not text.isdecimal() or int(text) < 1:
        raise BadReplication(f"--replication: expected a whole number of at least 1 or auto, found '{text}'")
    return int(text)


def lines(planned: "Plan") -> Iterator[str]:
    """Yield the plan as lines: `+` create, `~` alter, `!` refused, and the number of topics that stay as they are."""
    width = max(len(change.topic.name) for change in planned.changes)
    for change in planned.changes:
        topic = change.topic
        if change.action == "create":
            yield (
                f"+ {topic.name.ljust(width)}  {counted(topic.partitions, 'partition')}, replication "
                f"{topic.replication}, cleanup.policy={topic.configs['cleanup.policy']}, "
                f"{len(topic.configs) - 1} more configs"
            )
        for config in change.configs:
            if change.action == "alter":
                yield f"~ {topic.name.ljust(width)}  {config.name}: {config.before} -> {config.after}"
    yield from together("! refused", {it.topic.name: it.reasons for it in planned.changes})
    yield from together("  note", {it.topic.name: it.notes for it in planned.changes})
    same = sum(change.action == "unchanged" for change in planned.changes)
    if same:
        yield f"= {same} of {counted(len(planned.changes), 'topic')} need no change"


def together(mark: str, sentences: Mapping[str, Iterable[str]]) -> Iterator[str]:
    """Yield each sentence once, with all topics that it is about: one problem often affects many topics."""
    about: dict[str, list[str]] = {}
    for name, said in sentences.items():
        for sentence in said:
            about.setdefault(sentence, []).append(name)
    for sentence, names in about.items():
        yield f"{mark}: {', '.join(names)}: {sentence}"


def as_data(planned: "Plan") -> dict[str, Any]:
    """Return the plan as data, for --json."""
    return {
        "changes": [
            {
                "topic": change.topic.name,
                "action": change.action.value,
                "partitions": change.topic.partitions,
                "replication": change.topic.replication,
                "configs": [asdict(config) for config in change.configs]
                if change.action != "create"
                else [{"name": key, "before": None, "after": value} for key, value in change.topic.configs.items()],
                "reasons": list(change.reasons),
                "notes": list(change.notes),
            }
            for change in planned.changes
        ],
        "pending": planned.pending,
        "refused": planned.refused,
    }

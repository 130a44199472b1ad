"""`halter spec delete`: deletes definitions, once somebody has seen which and confirmed it."""

from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from halter.cli.client import Json, Timeout, connected
from halter.cli.connection import Kafka, asks_kafka
from halter.cli.definitions import KIND_NAMES, NoSuchDefinition, missing
from halter.cli.given import filled
from halter.cli.printing import print_json
from halter.cli.typed import parsed_version
from halter.cli.usage import BadOptions, confirm
from processors.core.records.errors import HalterError

if TYPE_CHECKING:
    from processors.core.records.commands import DeleteDefinition
    from processors.core.wf_spec.definitions import Definitions

EXAMPLES = (
    "Examples: `halter spec delete cart --version 0.1`, `halter spec delete charge-card --dry-run`. "
    "Exit codes: 0 deleted, 1 refused or an error, 2 wrong options."
)

LISTED_MAX = 10
"""Most names of a sentence."""


class Kind(StrEnum):
    """The kinds of definitions, as they are typed."""

    WF_SPEC = "WfSpec"
    TASK_DEF = "TaskDef"
    EXTERNAL_EVENT_DEF = "ExternalEventDef"
    WORKFLOW_EVENT_DEF = "WorkflowEventDef"


class NotDeleted(HalterError):
    """A definition may not be deleted, and the sentence says what names it. Whoever asked changes that first."""


@asks_kafka
def delete(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="Name of a WfSpec or of another definition.",
            show_default=False,
            callback=filled,
        ),
    ],
    version: Annotated[
        str | None,
        typer.Option(
            "--version", metavar="MAJOR[.REVISION]", help="Only this version of a WfSpec. Default: all versions."
        ),
    ] = None,
    kind: Annotated[
        Kind | None,
        typer.Option("--kind", case_sensitive=False, help="Which of several definitions that have this name."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be deleted, and delete nothing.")] = False,
    timeout: Timeout = 30.0,
    as_json: Json = False,
    *,
    kafka: Kafka,
) -> None:
    """Delete a definition: no new WfSpec may name it, and no RunWf may start it.

    WfRuns that run, and WfSpecs that name it, keep it. What the newest version of a WfSpec names cannot be deleted. The
    same deletion again changes nothing. The command shows what goes, asks, and returns when it is done.
    """
    major, revision = parsed_version(version)
    with connected(kafka) as client:
        from processors.core.records.commands import DefinitionKind, DeleteDefinition

        known = client.definitions()
        of = DefinitionKind(the_kind(known, name, kind).name)
        if of is not DefinitionKind.WF_SPEC and version is not None:
            raise BadOptions(
                f"--version {version}: expected it for a WfSpec alone, found {KIND_NAMES[of]} '{name}', all revisions "
                "of which are deleted together"
            )
        command = DeleteDefinition(of, name, major, revision)
        for _, problem in client.refusals([command]):
            raise NotDeleted(f"nothing was deleted: {KIND_NAMES[of]} '{name}': {problem.message}")
        goes = versions_of(known, command)
        typer.echo("\n".join(lines(known, command, goes)), err=as_json)
        done = None
        if goes and not dry_run:
            if not yes:
                confirm(
                    f"Delete this at {client.settings.bootstrap}?", f"nothing was deleted: {KIND_NAMES[of]} '{name}'"
                )
            done = client.put(command, timeout)
    deleted = "would be deleted" if goes and dry_run else "deleted" if goes else "was deleted before"
    if as_json:
        position = {} if done is None else {"definitions_position": done.position}
        print_json({"kind": KIND_NAMES[of], "name": name, "outcome": deleted, "versions": goes, **position})
    else:
        typer.echo(f"{KIND_NAMES[of]} {name}: {deleted}")


def the_kind(known: "Definitions", name: str, asked: Kind | None) -> Kind:
    """Return the kind of the definition of a name: of one that is not deleted, if there is any.

    Raises NoSuchDefinition, and BadOptions if several kinds have the name.
    """
    from processors.core.records.commands import DefinitionKind

    kinds = list(Kind) if asked is None else [asked]
    there = [kind for kind in kinds if known.versions(DefinitionKind(kind.name), name)]
    live = [kind for kind in there if known.live_versions(DefinitionKind(kind.name), name)]
    found = live or there
    if not found:
        what = "definition" if asked is None else asked.value
        raise NoSuchDefinition(f"expected a {what} named {missing(known, name, None, *(it.name for it in kinds))}")
    if len(found) > 1:
        raise BadOptions(f"expected --kind with '{name}', which is the name of {' and of '.join(found)}; found none")
    return found[0]


def versions_of(known: "Definitions", command: "DeleteDefinition") -> list[str]:
    """Return the versions that a deletion deletes: those that are not deleted yet."""
    return [
        f"{major}.{revision}"
        for major, revision in known.live_versions(command.kind, command.name)
        if command.major in (None, major) and command.revision in (None, revision)
    ]


def lines(known: "Definitions", command: "DeleteDefinition", goes: list[str]) -> Iterator[str]:
    """Yield what goes, and what that means for others, as lines of text."""
    kind, name = command.kind, command.name
    yield f"{KIND_NAMES[kind]} {name}: {listed(goes) or 'nothing that is not deleted'}"
    if not goes:
        return
    if kind == "WF_SPEC":
        stay = [it for it in known.live_versions(kind, name) if f"{it[0]}.{it[1]}" not in goes]
        then = f"starts {stay[-1][0]}.{stay[-1][1]}" if stay else "can start it"
        yield f"  {'RunWf then' if stay else 'no RunWf'} {then}; WfRuns that run go on"
    else:
        naming = [str(it) for it in known.naming(kind, name)]
        yield f"  named by {f'older versions of WfSpecs, which keep it: {listed(naming)}' if naming else 'no WfSpec'}"


def listed(names: list[Any]) -> str:
    """Return names, or the last of them if there are many."""
    left_out = f"{len(names) - LISTED_MAX} more, … " if len(names) > LISTED_MAX else ""
    return left_out + ", ".join(names[-LISTED_MAX:])

"""`halter spec put | list | get`: registers and shows definitions. `halter.files.definition_files` reads the files."""

from collections.abc import Iterator, Sequence
from dataclasses import astuple
from typing import TYPE_CHECKING, Annotated, Any

import typer

from halter.cli.client import Json, Timeout, connected
from halter.cli.connection import Kafka, asks_kafka
from halter.cli.given import filled, version_typed
from halter.cli.printing import note, print_json
from halter.cli.typed import parsed_version
from halter.cli.workflows import Files, source_named
from halter.show.counting import counted
from processors.core.records.errors import HalterError

if TYPE_CHECKING:
    from halter.client import Client, DefinitionRefused, Registered
    from halter.files.definition_files import Written
    from halter.files.yaml_files import Problem
    from processors.core.records.commands import DefinitionCommand
    from processors.core.records.events import Definition
    from processors.core.records.model import WfSpecId
    from processors.core.records.spec import WfSpec
    from processors.core.wf_spec.definitions import Definitions

PUT_EXAMPLES = (
    "Examples: `halter spec put cart.yaml`, `halter spec put cart.yaml --dry-run`, `halter spec put *.yaml --json`. "
    "Exit codes: 0 everything is registered, 1 not everything is, 2 wrong options."
)
LIST_EXAMPLES = "Examples: `halter spec list`, `halter spec list --json`."
GET_EXAMPLES = "Examples: `halter spec get cart`, `halter spec get cart --version 0.1`."

KIND_NAMES = {
    "WF_SPEC": "WfSpec",
    "TASK_DEF": "TaskDef",
    "EXTERNAL_EVENT_DEF": "ExternalEventDef",
    "WORKFLOW_EVENT_DEF": "WorkflowEventDef",
}
VERSIONED = ("WF_SPEC", "TASK_DEF", "EXTERNAL_EVENT_DEF")
"""Kinds that have versions; the others never change."""
KINDS = {
    "PutWfSpec": "WfSpec",
    "PutTaskDef": "TaskDef",
    "PutExternalEventDef": "ExternalEventDef",
    "PutWorkflowEventDef": "WorkflowEventDef",
}
"""Kinds of definitions, by the command that puts one."""

NOT_SENT = "not sent"
"""The most versions or names that a sentence lists."""


class NotRegistered(HalterError):
    """Some of the definitions are not registered. Whoever put them mends the problems that were printed."""


class NoSuchDefinition(HalterError):
    """No definition has this name. Whoever asked looks at `halter spec list`."""


@asks_kafka
def put(
    files: Files,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be registered, and send nothing.")] = False,
    timeout: Timeout = 30.0,
    as_json: Json = False,
    *,
    kafka: Kafka,
) -> None:
    """Register the definitions in files.

    A file is a WfSpec document, or has the fields 'external_events', 'tasks', 'workflow_events' and 'wf_specs'. Or
    MODULE:NAME is a Workflow of Python, as in 'shop.workflows:cart'.

    All files are checked first, by the engine's own rules and against what is registered. If any definition would be
    refused, nothing is registered. The result says for each definition: 'new', 'new version' or 'unchanged', and of a
    TaskDef or ExternalEventDef what has changed.

    If another client registers something in between, a definition may be refused all the same. The result then says
    which are registered.
    """
    from halter.files.definition_files import InvalidDefinitions, read_definition_files
    from halter.files.yaml_files import UnreadableFile

    try:
        written = read_definition_files([source_named(it) for it in files])
    except (InvalidDefinitions, UnreadableFile) as error:
        error.args = (f"{error}\nnothing was registered",)
        raise
    results: list[dict[str, Any]] = [{"outcome": NOT_SENT} for _ in written]
    with connected(kafka) as client:
        try:
            why_not = put_all(client, written, results, timeout, dry_run=dry_run)
        finally:
            # Also after Ctrl-C: the user must know what is registered.
            if not results or any(result["outcome"] != NOT_SENT for result in results):
                print_results(written, results, as_json=as_json)
    if why_not is not None:
        raise NotRegistered(why_not)
    if dry_run:
        note("nothing was sent (--dry-run)")


def put_all(
    client: "Client", written: "list[Written]", results: list[dict[str, Any]], timeout_s: float, *, dry_run: bool
) -> str | None:
    """Register the definitions in order, and write each outcome to `results`. Return why not all are registered.

    With `dry_run`, outcomes are those that there would be, and nothing is sent. A definition that was sent and has no
    answer may still become registered.
    """
    from halter.client import DefinitionRefused, PartitionsDiffer, TopicMissing
    from halter.client.refused import why_refused
    from halter.files.definition_files import REFERENCES

    refers = ""
    for index, problem in client.refusals(one.command for one in written):
        if problem.code in REFERENCES:
            refers = "; `halter spec put FILE …` registers what they refer to, before or in one command with them"
        results[index]["outcome"] = "refused"
        results[index].setdefault("problems", []).append(written[index].located(problem))
    refused = sum(result["outcome"] == "refused" for result in results)
    if refused:
        verb = "is" if refused == 1 else "are"
        return f"nothing was registered: {refused} of {counted(len(written), 'definition')} {verb} refused{refers}"
    known = client.definitions()
    if dry_run:
        results[:] = tried(known, written, frozenset(client.topics.task_queues))
        return None
    results[:] = [{"outcome": "not known"} for _ in written]
    count, why_not, refused_by_workers = 0, None, list[int]()
    commands = [one.command for one in written]
    try:
        for index, done in enumerate(client.put_all(commands, timeout_s)):
            if isinstance(done, DefinitionRefused):
                results[index] = {"outcome": "refused", "problems": refusals_of(written[index], done)}
                refused_by_workers.append(index)
            else:
                results[index] = registered(known, written[index], done)
                count += 1
        if refused_by_workers:
            why_not = why_refused(client, commands, refused_by_workers)
    except (TopicMissing, PartitionsDiffer) as error:
        results[:] = [{"outcome": NOT_SENT} for _ in written]
        why_not = str(error)
    except HalterError as error:
        why_not = str(error)
    if why_not is None:
        return None
    verb = "is" if 1 in (count, len(written)) else "are"
    return f"{count} of {counted(len(written), 'definition')} {verb} registered: {why_not}"


def refusals_of(one: "Written", refused: "DefinitionRefused") -> "list[Problem]":
    """Return the problems for which a definition was refused, where they stand in its file."""
    refusal = refused.rejected
    said = [(problem.code, problem.message) for problem in refusal.problems] or [(refusal.code, refusal.message)]
    return [one.file.problem(one.path, message, code) for code, message in said]


def print_results(written: "list[Written]", results: list[dict[str, Any]], *, as_json: bool) -> None:
    """Print what became of each definition."""
    if as_json:
        print_json([result_data(one, **result) for one, result in zip(written, results, strict=True)])
        return
    for one, result in zip(written, results, strict=True):
        typer.echo("\n".join(lines(one, **result)))


def registered(known: "Definitions", one: "Written", done: "Registered") -> dict[str, Any]:
    """Return the outcome of a definition that is registered. `known` are the client's definitions, with this one."""
    from processors.core.wf_spec.registration import kind_of

    version = (done.accepted.major, done.accepted.revision)
    upto = [
        it
        for it in known.versions(kind_of(one.command), one.command.name)
        if not it.deleted and (it.major, it.revision) <= version
    ]
    before, after = [None, None, *upto][-2:]
    return {
        **outcome_of(before, after, changed=done.accepted.changed),
        "version": done.version,
        "definitions_position": done.position,
    }


def tried(known: "Definitions", written: "list[Written]", queues: frozenset[str]) -> Iterator[dict[str, Any]]:
    """Yield the outcomes that definitions would have if they were put now. All of them would be accepted."""
    from processors.core.wf_spec.registration import tried as tried_by_the_rules

    there = known.copy()
    for one in written:
        before = newest_live(there, one.command)
        for definition in tried_by_the_rules(there, one.command, queues):
            there.apply(definition)
        after = newest_live(there, one.command)
        assert after is not None, "it would be accepted"
        yield {**outcome_of(before, after, changed=after is not before), "version": str(after.version)}


def newest_live(definitions: "Definitions", command: "DefinitionCommand") -> "Definition | None":
    """Return the newest version of what a command puts that is not deleted."""
    from processors.core.wf_spec.registration import kind_of

    return next((it for it in reversed(definitions.versions(kind_of(command), command.name)) if not it.deleted), None)


def outcome_of(before: "Definition | None", after: "Definition | None", *, changed: bool) -> dict[str, Any]:
    """Return what a put came to: `new`, `new version` with what has changed, or `unchanged`."""
    from halter.show.definition_text import changes

    if not changed:
        return {"outcome": "unchanged"}
    if before is None or after is None:
        return {"outcome": "new"}
    found = changes(before, after)
    return {"outcome": "new version", **({"changes": found} if found else {})}


def result_data(one: "Written", outcome: str, problems: "tuple[Problem, ...]" = (), **more: Any) -> dict[str, Any]:
    """Return what became of one definition as data, for --json."""
    from dataclasses import asdict

    told = {"problems": [asdict(problem) for problem in problems]} if problems else {}
    return {"kind": KINDS[type(one.command).__name__], "name": one.command.name, "outcome": outcome, **more, **told}


def lines(
    one: "Written",
    outcome: str,
    version: str = "",
    changes: Sequence[str] = (),
    problems: "tuple[Problem, ...]" = (),
    **_: Any,
) -> list[str]:
    """Return what became of one definition as lines of text."""
    kind = KINDS[type(one.command).__name__]
    number = f" {version}" if version and (kind == "WfSpec" or outcome == "new version") else ""
    what = f"{outcome:<11}  {kind} {one.command.name}{number}"
    more = [*changes, *(f"{problem} [{problem.code}]" for problem in problems)]
    return [what, *(f"             {it}" for it in more)]


@asks_kafka
def list_all(
    as_json: Json = False,
    *,
    kafka: Kafka,
) -> None:
    """List the newest version of each registered definition."""
    with connected(kafka) as client:
        definitions = client.definitions()
    newest = {(it.kind, it.name): it for it in definitions.all() if not it.deleted}
    if as_json:
        print_json([as_data(definition, definitions) for definition in newest.values()])
        return
    for definition in newest.values():
        version = f" {definition.version}" if definition.kind in VERSIONED else ""
        typer.echo(f"{KIND_NAMES[definition.kind]:<16}  {definition.name}{version}")
        typer.echo("".join(f"{'':<16}  {line}\n" for line in outdated(definition, definitions)), nl=False)


def outdated(definition: "Definition", definitions: "Definitions") -> "Iterator[str]":
    """Yield a line for each definition that changed since a WfSpec bound it, until the WfSpec is put again."""
    from processors.core.wf_spec.task_def_registration import is_alike

    if (wf_spec_id := wf_spec_id_of(definition)) is not None:
        for bound in definitions.bindings(wf_spec_id):
            newest = definitions.newest(bound.kind, bound.name)
            if newest is not None and not is_alike(bound, newest):
                kind = KIND_NAMES[bound.kind]
                yield f"  binds {kind} {bound.name} {bound.version}, the newest is {newest.version}"


def wf_spec_id_of(definition: "Definition") -> "WfSpecId | None":
    """Return the WfSpecId of a definition that is a WfSpec, else None."""
    from processors.core.records.model import WfSpecId

    return WfSpecId(definition.name, *astuple(definition.version)) if definition.kind == "WF_SPEC" else None


@asks_kafka
def get(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Name of a WfSpec or of another definition.", callback=filled)
    ],
    version: Annotated[
        str | None,
        typer.Option(
            "--version",
            metavar="MAJOR.REVISION",
            help="Version to print. Default: the newest.",
            callback=version_typed,
        ),
    ] = None,
    *,
    kafka: Kafka,
) -> None:
    """Print the definitions of a name as a JSON list: a WfSpec, and definitions of other kinds with the same name."""
    with connected(kafka) as client:
        definitions = client.definitions()
    found: dict[str, Definition] = {}
    for definition in definitions.all():
        if definition.name == name and version in (None, str(definition.version)):
            found[definition.kind] = definition
    if not found:
        raise NoSuchDefinition(f"expected a definition named {missing(definitions, name, version, *KIND_NAMES)}")
    print_json([as_data(definition, definitions) for definition in found.values()])


def registered_wf_spec(registered: "Definitions", name: str, version: str | None) -> "WfSpec":
    """Return a registered WfSpec. Raises NoSuchDefinition, BadVersion."""
    found = registered.latest_wf_spec(name, *parsed_version(version))
    if found is None:
        what = f"expected a WfSpec or TaskDef named {missing(registered, name, version, 'WF_SPEC', 'TASK_DEF')}"
        raise NoSuchDefinition(what)
    return registered.wf_spec(found)


def missing(registered: "Definitions", name: str, version: str | None, *kinds: str) -> str:
    """Say which name or version does not exist, and which was probably meant."""
    from halter.client.meant import meant

    wanted = name if version is None else f"{name} {version}"
    sentence = f"'{wanted}', found none{meant(registered, name, *kinds)}"
    return f"{sentence}{'' if sentence.endswith('?') else ';'} `halter spec list` shows all"


def as_data(definition: "Definition", definitions: "Definitions") -> dict[str, Any]:
    """Return a definition as data: its document as data too, and what it binds as `name: version`."""
    import json

    from halter.show.plain import plain

    data = {key: value for key, value in plain(definition).items() if value is not None}
    for bound in ("external_event_defs", "task_defs"):
        del data[bound]
    if not definition.optional:
        del data["optional"]
    if (wf_spec_id := wf_spec_id_of(definition)) is not None:
        fields = {"EXTERNAL_EVENT_DEF": "external_event_defs", "TASK_DEF": "task_defs"}
        data |= {field: {} for field in fields.values()}
        for it in definitions.bindings(wf_spec_id):
            data[fields[it.kind]][it.name] = str(it.version)
    if definition.document is not None:
        data["document"] = json.loads(definition.document)
    return {**data, "kind": KIND_NAMES[definition.kind]}

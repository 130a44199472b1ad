"""`halter spec put | list | get`: definitions on the cluster. What a file may say is `halter.definition_files`'."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from halter.cli.client import Json, Timeout, connected, parsed_version, print_json
from halter.cli.connection import Bootstrap, Prefix, Properties, PropertiesFile
from processors.errors import HalterError

if TYPE_CHECKING:
    from halter.client import Client
    from processors.core.commands import DefinitionCommand
    from processors.core.events import Definition
    from processors.core.spec import WfSpec

PUT_EXAMPLES = (
    "Examples: `halter spec put cart.yaml`, `halter spec put defs/*.yaml --json`. "
    "Exit codes: 0 all is registered, 1 something was refused or an error, 2 usage."
)
LIST_EXAMPLES = "Examples: `halter spec list`, `halter spec list --json`."
GET_EXAMPLES = "Examples: `halter spec get cart`, `halter spec get cart --version 0.1`."

KIND_NAMES = {
    "WF_SPEC": "WfSpec",
    "TASK_DEF": "TaskDef",
    "EXTERNAL_EVENT_DEF": "ExternalEventDef",
    "WORKFLOW_EVENT_DEF": "WorkflowEventDef",
}


KINDS = {
    "PutWfSpec": "WfSpec",
    "PutTaskDef": "TaskDef",
    "PutExternalEventDef": "ExternalEventDef",
    "PutWorkflowEventDef": "WorkflowEventDef",
}


class NoSuchDefinition(HalterError):
    """No definition has this name. Whoever asked looks at `halter spec list`."""


def put(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...", help="YAML or JSON: WfSpec documents, or files of definitions. `-` is standard input."
        ),
    ],
    timeout: Timeout = 30.0,
    as_json: Json = False,
    bootstrap: Bootstrap = None,
    properties_file: PropertiesFile = None,
    properties: Properties = None,
    prefix: Prefix = None,
) -> None:
    """Register what is in files: a WfSpec document, or `external_events`, `tasks`, `workflow_events`, `wf_specs`.

    Nothing is sent unless all files are in order, and WfSpecs come after all else. What is registered already and has
    not changed stays as it is.
    """
    from halter.definition_files import read_definition_files

    commands = read_definition_files(files)
    with connected(bootstrap, properties_file, properties, prefix) as client:
        results = [put_one(client, command, timeout) for command in commands]
    if as_json:
        print_json(results)
    else:
        for result in results:
            typer.echo("\n".join(lines(result)))
    if any(result["outcome"] == "refused" for result in results):
        raise typer.Exit(1)


def put_one(client: "Client", command: "DefinitionCommand", timeout_s: float) -> dict[str, Any]:
    """What became of one definition, for programs."""
    from halter.client import DefinitionRefused

    try:
        done = client.put(command, timeout_s)
    except DefinitionRefused as refused:
        rejected = refused.rejected
        problems = [{"code": problem.code, "message": problem.message} for problem in rejected.problems]
        return {
            "kind": KIND_NAMES[rejected.kind],
            "name": rejected.name,
            "outcome": "refused",
            "problems": problems or [{"code": rejected.code, "message": rejected.message}],
        }
    return {
        "kind": KIND_NAMES[done.accepted.kind],
        "name": done.accepted.name,
        "outcome": "registered" if done.accepted.changed else "unchanged",
        "version": done.version,
        "definitions_position": done.position,
    }


def lines(result: dict[str, Any]) -> list[str]:
    """What is printed for one definition."""
    what = f"{result['outcome']:<10}  {result['kind']} {result['name']}"
    if result["outcome"] != "refused":
        return [f"{what} {result['version']}" if result["kind"] == "WfSpec" else what]
    return [what, *(f"            {problem['message']} [{problem['code']}]" for problem in result["problems"])]


def list_all(
    as_json: Json = False,
    bootstrap: Bootstrap = None,
    properties_file: PropertiesFile = None,
    properties: Properties = None,
    prefix: Prefix = None,
) -> None:
    """List what is registered: the newest version of each definition."""
    with connected(bootstrap, properties_file, properties, prefix) as client:
        newest = {(it.kind, it.name): it for it in client.definitions().all() if not it.deleted}
    if as_json:
        print_json([as_data(definition) for definition in newest.values()])
        return
    for definition in newest.values():
        version = f" {definition.major}.{definition.revision}" if definition.kind == "WF_SPEC" else ""
        typer.echo(f"{KIND_NAMES[definition.kind]:<16}  {definition.name}{version}")


def get(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a WfSpec or of another definition.")],
    version: Annotated[
        str | None, typer.Option("--version", metavar="MAJOR.REVISION", help="A version; else the newest.")
    ] = None,
    bootstrap: Bootstrap = None,
    properties_file: PropertiesFile = None,
    properties: Properties = None,
    prefix: Prefix = None,
) -> None:
    """Print what is registered under a name, as JSON: a WfSpec, and what else has that name."""
    with connected(bootstrap, properties_file, properties, prefix) as client:
        found: dict[str, Definition] = {}
        for definition in client.definitions().all():
            if definition.name == name and version in (None, f"{definition.major}.{definition.revision}"):
                found[definition.kind] = definition
    if not found:
        wanted = name if version is None else f"{name} {version}"
        raise NoSuchDefinition(f"expected a definition named '{wanted}', found none; `halter spec list` shows all")
    print_json([as_data(definition) for definition in found.values()])


def registered_wf_spec(client: "Client", name: str, version: str | None) -> "WfSpec":
    """Return a WfSpec that is registered. Raises NoSuchDefinition, BadVersion."""
    registered = client.definitions()
    found = registered.latest_wf_spec(name, *parsed_version(version))
    if found is None:
        wanted = name if version is None else f"{name} {version}"
        raise NoSuchDefinition(f"expected a WfSpec named '{wanted}', found none; `halter spec list` shows all")
    return registered.wf_spec(found)


def as_data(definition: "Definition") -> dict[str, Any]:
    """A definition for programs: what it has, with its document as data."""
    import json

    from halter.plain import plain

    data = {key: value for key, value in plain(definition).items() if value is not None}
    if definition.document is not None:
        data["document"] = json.loads(definition.document)
    return {**data, "kind": KIND_NAMES[definition.kind]}

"""`halter spec`: documents are checked and shown here, what is registered is `halter.cli.definitions`'."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from halter.cli import definitions
from halter.cli.client import connected, parsed_version
from halter.cli.connection import (
    CONNECT_SECONDS,
    Bootstrap,
    ConnectTimeout,
    Prefix,
    Properties,
    PropertiesFile,
)
from halter.cli.usage import UsageMistake
from processors.errors import HalterError

if TYPE_CHECKING:
    from halter.definition_files import CheckedFile

app = typer.Typer(no_args_is_help=True, help="Check, draw and register WfSpecs, TaskDefs and ExternalEventDefs.")

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


class NoSuchFile(HalterError):
    """A file was named that is not there. Whoever typed its name corrects it."""


@app.command("check", epilog="Example: `halter spec check cart.yaml`. Exit code 1 if any file has a problem.")
def check(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...", help="YAML or JSON: WfSpec documents, or files of definitions. `-` is standard input."
        ),
    ],
    as_json: Json = False,
) -> None:
    """Say all that is wrong with files that `spec put` takes: file, line, column, what was expected and found.

    The files are checked together, by the rules by which they would be registered. Needs no cluster: whether TaskDefs
    and events that are named and not in the files are registered is checked by `spec put`.
    """
    from halter.definition_files import check_files

    checked = check_files(files)
    if as_json:
        typer.echo(json.dumps([as_data(one) for one in checked], indent=2, ensure_ascii=False))
    else:
        for one in checked:
            typer.echo("\n".join(lines(one)))
    if any(one.problems for one in checked):
        raise typer.Exit(1)


def lines(checked: "CheckedFile") -> list[str]:
    """What `spec check` prints for a file."""
    hints = [f"{hint.file}:{hint.line}:{hint.column}: hint: {hint.message} [{hint.code}]" for hint in checked.hints]
    if checked.problems:
        return [*(f"{problem} [{problem.code}]" for problem in checked.problems), *hints]
    return [*hints, f"{checked.file}: ok, {', '.join(contents(checked)) or 'no definitions'}"]


def contents(checked: "CheckedFile") -> list[str]:
    """What is in a file, counted by kind; WfSpecs by name."""
    from processors.core.commands import PutExternalEventDef, PutTaskDef, PutWorkflowEventDef

    counted = {"ExternalEventDef": PutExternalEventDef, "TaskDef": PutTaskDef, "WorkflowEventDef": PutWorkflowEventDef}
    commands = [one.command for one in checked.definitions]
    numbers = {name: sum(isinstance(command, kind) for command in commands) for name, kind in counted.items()}
    sizes = {wf_spec.name: len(wf_spec.threads) for wf_spec in checked.wf_specs}
    return [
        *(f"{number} {name}{'s' * (number != 1)}" for name, number in numbers.items() if number),
        *(f"WfSpec {name} of {number} ThreadSpec{'s' * (number != 1)}" for name, number in sizes.items()),
    ]


def as_data(checked: "CheckedFile") -> dict[str, Any]:
    """What `spec check --json` prints for a file."""
    from dataclasses import asdict

    names = [wf_spec.name for wf_spec in checked.wf_specs]
    return {
        "file": checked.file,
        "ok": not checked.problems,
        "name": names[0] if len(names) == 1 else None,
        "definitions": [
            {"kind": definitions.KINDS[type(one.command).__name__], "name": one.command.name}
            for one in checked.definitions
        ],
        "problems": [asdict(problem) for problem in checked.problems],
        "hints": [asdict(hint) for hint in checked.hints],
    }


@app.command("show", epilog="Examples: `halter spec show cart.yaml --mermaid`, `halter spec show cart --version 0.1`.")
def show(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE|NAME",
            help="A WfSpec document, or a file of definitions with one WfSpec (`-` is standard input); or the name of "
            "a registered one.",
        ),
    ],
    mermaid: Annotated[bool, typer.Option("--mermaid", help="As a diagram, for Mermaid.")] = False,
    version: Annotated[
        str | None, typer.Option("--version", metavar="MAJOR[.REVISION]", help="Of a registered one; else the newest.")
    ] = None,
    bootstrap: Bootstrap = None,
    properties_file: PropertiesFile = None,
    properties: Properties = None,
    prefix: Prefix = None,
    connect_timeout: ConnectTimeout = CONNECT_SECONDS,
) -> None:
    """Show a WfSpec: its document as JSON with every default left out, or as a diagram."""
    from processors.core import diagram

    file = Path(source)
    parsed_version(version)
    if source == "-" or (file.exists() and not file.is_dir()):
        from halter.definition_files import only_wf_spec

        if version is not None:
            raise UsageMistake(f"--version: expected the name of a registered WfSpec with it, found the file {source}")
        wf_spec = only_wf_spec(file)
    elif file.suffix or file.name != source:
        raise NoSuchFile(f"expected a WfSpec document, found no file {file}")
    else:
        with connected(bootstrap, properties_file, properties, prefix, connect_timeout) as client:
            wf_spec = definitions.registered_wf_spec(client, source, version)
    if mermaid:
        typer.echo(diagram.mermaid(wf_spec), nl=False)
    else:
        typer.echo(json.dumps(json.loads(wf_spec.document), indent=2, ensure_ascii=False))


app.command("put", epilog=definitions.PUT_EXAMPLES)(definitions.put)
app.command("list", epilog=definitions.LIST_EXAMPLES)(definitions.list_all)
app.command("get", epilog=definitions.GET_EXAMPLES)(definitions.get)

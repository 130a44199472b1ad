"""`halter spec check | show`: checks and shows documents. `halter.cli.definitions` has put, list and get, and
`halter.cli.spec_delete` has delete.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from halter.cli import definitions, spec_delete
from halter.cli.client import Json, connected
from halter.cli.connection import Kafka, asks_kafka
from halter.cli.typed import parsed_version
from halter.cli.usage import UsageMistake
from halter.cli.workflows import Files, source_named
from halter.files.programs import is_target
from processors.core.records.errors import HalterError

if TYPE_CHECKING:
    from halter.files.definition_files import CheckedFile

app = typer.Typer(no_args_is_help=True, help="Check, draw and register WfSpecs, TaskDefs and ExternalEventDefs.")


class NoSuchFile(HalterError):
    """A named file does not exist. Whoever typed its name corrects it."""


@app.command("check", epilog="Example: `halter spec check cart.yaml`. Exit code 1 if any file has a problem.")
def check(
    files: Files,
    as_json: Json = False,
) -> None:
    """Check files as 'halter spec put' would, and print every problem.

    Each problem comes with its file, line and column, what was expected and what was found.

    The files are checked together, by the same rules as when they are registered. This needs no Kafka. Names that the
    files use and do not define are not checked: only 'halter spec put' can look them up among what is registered.
    """
    from halter.files.definition_files import check_files

    checked = check_files([source_named(it) for it in files])
    if as_json:
        typer.echo(json.dumps([as_data(one) for one in checked], indent=2, ensure_ascii=False))
    else:
        for one in checked:
            typer.echo("\n".join(lines(one)))
    if any(one.problems for one in checked):
        raise typer.Exit(1)


def lines(checked: "CheckedFile") -> list[str]:
    """Return the lines that `spec check` prints for a file."""
    hints = [f"{hint.file}:{hint.line}:{hint.column}: hint: {hint.message} [{hint.code}]" for hint in checked.hints]
    if checked.problems:
        return [*(f"{problem} [{problem.code}]" for problem in checked.problems), *hints]
    return [*hints, f"{checked.file}: ok, {', '.join(contents(checked)) or 'no definitions'}"]


def contents(checked: "CheckedFile") -> list[str]:
    """Return what is in a file: counts by kind, and the name of each WfSpec."""
    from processors.core.records.commands import PutExternalEventDef, PutTaskDef, PutWorkflowEventDef

    counted = {"ExternalEventDef": PutExternalEventDef, "TaskDef": PutTaskDef, "WorkflowEventDef": PutWorkflowEventDef}
    commands = [one.command for one in checked.definitions]
    numbers = {name: sum(isinstance(command, kind) for command in commands) for name, kind in counted.items()}
    sizes = {wf_spec.name: len(wf_spec.threads) for wf_spec in checked.wf_specs}
    return [
        *(f"{number} {name}{'s' * (number != 1)}" for name, number in numbers.items() if number),
        *(f"WfSpec {name} of {number} ThreadSpec{'s' * (number != 1)}" for name, number in sizes.items()),
    ]


def as_data(checked: "CheckedFile") -> dict[str, Any]:
    """Return what `spec check --json` prints for a file."""
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
@asks_kafka
def show(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE|MODULE:NAME|NAME",
            help="A file with one WfSpec ('-' reads standard input), a Workflow in a module of Python, or the name of "
            "a registered WfSpec or TaskDef.",
        ),
    ],
    mermaid: Annotated[bool, typer.Option("--mermaid", help="Print a Mermaid diagram.")] = False,
    python: Annotated[bool, typer.Option("--python", help="Print a program in Python that writes the WfSpec.")] = False,
    yaml: Annotated[bool, typer.Option("--yaml", help="Print YAML, with expressions as text.")] = False,
    version: Annotated[
        str | None,
        typer.Option(
            "--version",
            metavar="MAJOR[.REVISION]",
            help="Version of the registered WfSpec or TaskDef. Default: the newest WfSpec, all of a TaskDef.",
        ),
    ] = None,
    *,
    kafka: Kafka,
) -> None:
    """Show a WfSpec: its document as JSON or YAML without default values, a diagram, or a program that writes it.

    Of a TaskDef, show its revisions, what each has changed, and the WfSpecs that name it.
    """
    from halter.show import diagram

    asked = [name for name, given in (("--mermaid", mermaid), ("--python", python), ("--yaml", yaml)) if given]
    if len(asked) > 1:
        raise UsageMistake(f"expected one of --mermaid, --python and --yaml, found {' and '.join(asked)}")
    file = Path(source)
    parsed_version(version)
    if source == "-" or (file.exists() and not file.is_dir()) or is_target(source):
        from halter.files.definition_files import only_wf_spec

        if version is not None:
            raise UsageMistake(
                f"--version: expected the name of a registered WfSpec with it, found the file {source}; a file has no "
                "version, leave --version out"
            )
        wf_spec = only_wf_spec(source_named(file))
    elif file.suffix or file.name != source:
        raise NoSuchFile(f"expected a WfSpec document, found no file {file}: check its name and this folder")
    else:
        with connected(kafka) as client:
            registered = client.definitions()
            if registered.latest_wf_spec(source) is None and not asked:
                from halter.show.definition_text import task_def_lines

                if of_task_def := list(task_def_lines(registered, source, version)):
                    typer.echo("\n".join(of_task_def))
                    return
            wf_spec = definitions.registered_wf_spec(registered, source, version)
    if mermaid:
        typer.echo(diagram.mermaid(wf_spec), nl=False)
    elif python:
        from halter.workflow.source import source_of

        typer.echo(source_of(wf_spec), nl=False)
    elif yaml:
        from halter.show.yaml_text import yaml_text

        typer.echo(yaml_text(wf_spec), nl=False)
    else:
        typer.echo(json.dumps(json.loads(wf_spec.document), indent=2, ensure_ascii=False))


app.command("put", epilog=definitions.PUT_EXAMPLES)(definitions.put)
app.command("list", epilog=definitions.LIST_EXAMPLES)(definitions.list_all)
app.command("get", epilog=definitions.GET_EXAMPLES)(definitions.get)
app.command("delete", epilog=spec_delete.EXAMPLES)(spec_delete.delete)

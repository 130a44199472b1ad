"""`halter spec`: documents are checked and shown here, what is registered is `halter.cli.definitions`'."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from halter.cli import definitions
from halter.cli.client import connected
from halter.cli.connection import Bootstrap, Prefix, Properties, PropertiesFile
from processors.errors import HalterError

if TYPE_CHECKING:
    from halter.documents import CheckedWfSpec

app = typer.Typer(no_args_is_help=True, help="Check, draw and register WfSpecs, TaskDefs and ExternalEventDefs.")

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


class NoSuchFile(HalterError):
    """A file was named that is not there. Whoever typed its name corrects it."""


@app.command("check", epilog="Example: `halter spec check cart.yaml`. Exit code 1 if any file has a problem.")
def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="WfSpec documents, YAML or JSON.")],
    as_json: Json = False,
) -> None:
    """Say all that is wrong with WfSpec documents: file, line, column, what was expected and found.

    Needs no cluster. Whether the TaskDefs and events that they name are registered is checked by `spec put`.
    """
    from halter.documents import check_wf_spec_file

    checked = [check_wf_spec_file(path) for path in files]
    if as_json:
        typer.echo(json.dumps([as_data(one) for one in checked], indent=2, ensure_ascii=False))
    else:
        for one in checked:
            typer.echo("\n".join(lines(one)))
    if any(one.problems for one in checked):
        raise typer.Exit(1)


def lines(checked: "CheckedWfSpec") -> list[str]:
    """What `spec check` prints for a file."""
    if checked.wf_spec is None:
        return [f"{problem} [{problem.code}]" for problem in checked.problems]
    hints = [f"{hint.file}:{hint.line}:{hint.column}: hint: {hint.message} [{hint.code}]" for hint in checked.hints]
    threads = len(checked.wf_spec.threads)
    return [*hints, f"{checked.file}: ok, WfSpec {checked.wf_spec.name} of {threads} ThreadSpec{'s' * (threads != 1)}"]


def as_data(checked: "CheckedWfSpec") -> dict[str, Any]:
    """What `spec check --json` prints for a file."""
    from dataclasses import asdict

    return {
        "file": checked.file,
        "ok": checked.wf_spec is not None,
        "name": None if checked.wf_spec is None else checked.wf_spec.name,
        "problems": [asdict(problem) for problem in checked.problems],
        "hints": [asdict(hint) for hint in checked.hints],
    }


@app.command("show", epilog="Examples: `halter spec show cart.yaml --mermaid`, `halter spec show cart --version 0.1`.")
def show(
    source: Annotated[
        str,
        typer.Argument(metavar="FILE|NAME", help="A WfSpec document, YAML or JSON; or the name of a registered one."),
    ],
    mermaid: Annotated[bool, typer.Option("--mermaid", help="As a diagram, for Mermaid.")] = False,
    version: Annotated[
        str | None, typer.Option("--version", metavar="MAJOR[.REVISION]", help="Of a registered one; else the newest.")
    ] = None,
    bootstrap: Bootstrap = None,
    properties_file: PropertiesFile = None,
    properties: Properties = None,
    prefix: Prefix = None,
) -> None:
    """Show a WfSpec: its document as JSON with every default left out, or as a diagram."""
    from processors.core import diagram

    file = Path(source)
    if file.exists():
        from halter.documents import load_wf_spec_document

        wf_spec = load_wf_spec_document(file)
    elif file.suffix or file.name != source:
        raise NoSuchFile(f"expected a WfSpec document, found no file {file}")
    else:
        with connected(bootstrap, properties_file, properties, prefix) as client:
            wf_spec = definitions.registered_wf_spec(client, source, version)
    if mermaid:
        typer.echo(diagram.mermaid(wf_spec), nl=False)
    else:
        typer.echo(json.dumps(json.loads(wf_spec.document), indent=2, ensure_ascii=False))


app.command("put", epilog=definitions.PUT_EXAMPLES)(definitions.put)
app.command("list", epilog=definitions.LIST_EXAMPLES)(definitions.list_all)
app.command("get", epilog=definitions.GET_EXAMPLES)(definitions.get)

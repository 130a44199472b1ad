"""`halter scenario`: tests of WfSpecs as documents, on the fold alone."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from halter.scenarios.files import FileVerdict

app = typer.Typer(no_args_is_help=True, help="Test WfSpecs: given definitions, when these records arrive, then this.")


@app.callback()
def scenario() -> None:
    """Test WfSpecs: given definitions, when these records arrive, then this is so."""


@app.command("run", epilog="Example: `halter scenario run tests/*.yaml`. Exit code 1 if any scenario failed.")
def run(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Scenario documents, YAML or JSON.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Run scenarios in memory, each on an engine of its own: no Kafka, no clock, milliseconds.

    One line per file, `ok` or `FAILED` with what was expected and found; a failure also shows the log so far.
    """
    from halter.scenarios.files import run_file

    verdicts = []
    for file in files:
        verdict = run_file(file)
        verdicts.append(verdict)
        if not as_json:
            typer.echo("\n".join(lines(verdict)))
    if as_json:
        typer.echo(json.dumps([as_data(verdict) for verdict in verdicts], indent=2, ensure_ascii=False))
    if not all(verdict.ok for verdict in verdicts):
        raise typer.Exit(1)


def lines(verdict: "FileVerdict") -> list[str]:
    """What is printed for a file."""
    if verdict.ok:
        return [f"ok      {verdict.file}"]
    return [
        *(f"FAILED  {problem}" for problem in verdict.problems),
        *(f"        {line}" for line in verdict.log),
    ]


def as_data(verdict: "FileVerdict") -> dict[str, Any]:
    """What `--json` prints for a file."""
    from dataclasses import asdict

    return {
        "file": verdict.file,
        "ok": verdict.ok,
        "name": verdict.name,
        "steps": verdict.steps,
        "problems": [asdict(problem) for problem in verdict.problems],
        "log": list(verdict.log),
    }

"""Arguments that name where definitions are written: a file, or a Workflow in a module of Python."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from halter.cli.usage import BadOptions
from halter.files.programs import NoTarget, is_target

if TYPE_CHECKING:
    from halter.files.definition_files import Workflow

Files: TypeAlias = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE...",
        help="WfSpec documents or files of definitions, YAML or JSON; or MODULE:NAME of a Workflow in Python. '-' "
        "reads standard input.",
    ),
]


def source_named(source: Path) -> "Path | Workflow":
    """Return the file that an argument names, or the Workflow. Raises BadOptions, NoSuchThing."""
    if source.suffix != ".py" and not is_target(str(source)):
        return source
    from halter.workflow import named

    try:
        return named.source_named(str(source))
    except NoTarget as problem:
        raise BadOptions(str(problem)) from problem

"""Arguments that name where definitions are written: a file, or a Workflow in a module of Python."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

from halter.cli.programs import thing_in
from halter.cli.usage import BadOptions

if TYPE_CHECKING:
    from halter.files.definition_files import Workflow

IN_MODULE: Final = re.compile(r"[^:]+:[A-Za-z_]\w*")

Files: TypeAlias = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE...",
        help="WfSpec documents or files of definitions, YAML or JSON; or MODULE:NAME of a Workflow in Python. '-' "
        "reads standard input.",
    ),
]


def names_workflow(source: str) -> bool:
    """Say whether an argument names a Workflow in a module, and no file."""
    return IN_MODULE.fullmatch(source) is not None and not Path(source).exists()


def source_named(source: Path) -> "Path | Workflow":
    """Return the file that an argument names, or the Workflow. Raises BadOptions, NoSuchThing."""
    if not names_workflow(str(source)):
        if source.suffix == ".py":
            raise BadOptions(f"expected the name of a Workflow behind a module, as in {source}:cart, found '{source}'")
        return source
    from halter.workflow import Workflow

    return thing_in(str(source), Workflow, "shop.workflows:cart")

"""Finds what a text names as the place where definitions are written: a file, or a Workflow in a module of Python."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from halter.files.definition_files import InvalidDefinitions
from halter.files.programs import TARGET, NoTarget, names_in, thing_in
from halter.files.yaml_files import Problem
from halter.workflow.arguments import WrongOperand
from halter.workflow.places import Place, raised_at
from halter.workflow.workflow import STATEMENT, Workflow

EXAMPLE: Final = "shop.workflows:cart"


def source_named(name: str, folder: Path | None = None) -> Path | Workflow:
    """Return the file that a text names, or the Workflow. Files are looked for in `folder`, modules as Python does.

    Raises NoTarget for a file of Python without the name of a Workflow, NoSuchThing for a Workflow that is not there,
    InvalidDefinitions for a line of its module that cannot be.
    """
    file = Path(name) if folder is None else folder / name
    if TARGET.fullmatch(name) is None or file.exists():
        if file.suffix == ".py":
            with told_with_its_line(name):
                there = ", ".join(f"{name}:{it}" for it in names_in(name, Workflow)) or f"{name}:cart"
            raise NoTarget(f"expected the name of a Workflow behind a module, as in {there}, found '{name}'")
        return file
    module, _, thing = name.rpartition(":")
    where = str(file.parent / Path(module).name) if module.endswith(".py") else module
    with told_with_its_line(where):
        return thing_in(f"{where}:{thing}", Workflow, EXAMPLE)


@contextmanager
def told_with_its_line(module: str) -> Iterator[None]:
    """Tell what a module writes wrongly outside of its thread functions, such as a Variable, as what is in these."""
    try:
        yield
    except WrongOperand as error:
        at = raised_at(error, Place(module, 1))
        raise InvalidDefinitions([Problem(at.file, at.line, 1, str(error), STATEMENT)]) from error

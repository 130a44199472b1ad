"""Finds what a command runs or reads in a module of the user's: `shop.tasks:worker`, or `shop/tasks.py:worker`."""

import importlib
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from halter.cli.usage import BadOptions
from processors.core.records.errors import HalterError

Thing = TypeVar("Thing")


class NoSuchThing(HalterError):
    """What a command was told to take from a module is not there. Whoever typed or wrote it corrects it."""


def thing_in(target: str, kind: type[Thing], example: str) -> Thing:
    """Import what `module:name` says, which is to be of a class. Raises BadOptions, NoSuchThing."""
    from processors.core.wf_spec.near_names import NearNames

    module_name, colon, name = target.rpartition(":")
    if not (module_name and colon and name):
        raise BadOptions(f"expected MODULE:NAME, as in {example}, found '{target}'")
    module = imported(module_name)
    thing = getattr(module, name, None)
    if isinstance(thing, kind):
        return thing
    there = [it for it, value in vars(module).items() if isinstance(value, kind)]
    hint = NearNames().meant_or_known(name, there)
    what = "nothing" if thing is None else f"a {type(thing).__name__}"
    raise NoSuchThing(f"expected a {kind.__name__} under the name '{name}' in {module_name}, found {what}{hint}")


def imported(name: str) -> ModuleType:
    """Import a module, from the present folder too, or the module that is in a file. Raises NoSuchThing."""
    file = Path(name)
    folder, module = (file.absolute().parent, file.stem) if file.suffix == ".py" else (Path.cwd(), name)
    sys.path.insert(0, str(folder))  # as `python shop/tasks.py` and `python -m shop.tasks` do
    try:
        made = importlib.import_module(module)
    except HalterError:
        raise
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
            where = f"expected a module '{module}' in {folder} or installed"
            raise NoSuchThing(f"{where}, found none: there is no '{error.name}'") from error
        at = traceback.extract_tb(error.__traceback__)[-1]
        raise NoSuchThing(
            f"cannot import '{name}': {type(error).__name__}: {error} ({at.filename}:{at.lineno})"
        ) from error
    source = getattr(made, "__file__", None)
    if file.suffix == ".py" and (source is None or Path(source).resolve() != file.resolve()):
        whose = "Python itself" if source is None else source
        raise NoSuchThing(
            f"expected a module in {file.absolute()}, found '{module}' of {whose}: name the file otherwise"
        )
    return made

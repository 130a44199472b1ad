"""Finds what is used of a module of the user's: `shop.tasks:worker`, or `shop/tasks.py:worker`.

Imports what is named, so whatever the module does at import is done. Knows nothing of what is found but its class.
"""

import importlib
import re
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Final, TypeVar

from processors.core.records.errors import HalterError

Thing = TypeVar("Thing")
TARGET: Final = re.compile(r"[^:]+:[A-Za-z_]\w*")
"""MODULE:NAME, or FILE.py:NAME."""


class NoSuchThing(HalterError):
    """What was to be taken from a module is not there. Whoever typed or wrote it corrects it."""


class NoTarget(HalterError):
    """Something is not in the form MODULE:NAME. Whoever typed or wrote it corrects it."""


def is_target(text: str) -> bool:
    """Say whether a text names something in a module, and no file."""
    return TARGET.fullmatch(text) is not None and not Path(text).exists()


def thing_in(target: str, kind: type[Thing], example: str) -> Thing:
    """Import what `module:name` says, which is to be of a class. `example` shows the form.

    Raises NoTarget, NoSuchThing.
    """
    from processors.core.wf_spec.near_names import NearNames

    module_name, colon, name = target.rpartition(":")
    if not (module_name and colon and name):
        raise NoTarget(f"expected MODULE:NAME, as in {example}, found '{target}'")
    module = imported(module_name)
    thing = getattr(module, name, None)
    if isinstance(thing, kind):
        return thing
    hint = NearNames().meant_or_known(name, _names_of(kind, module))
    found = type(thing).__name__
    what = "nothing" if thing is None else f"{'an' if found[0] in 'aeiou' else 'a'} {found}"
    raise NoSuchThing(f"expected a {kind.__name__} under the name '{name}' in {module_name}, found {what}{hint}")


def names_in(module_name: str, kind: type[object]) -> list[str]:
    """Import a module, and return the names under which it has something of a class. Raises NoSuchThing."""
    return _names_of(kind, imported(module_name))


def _names_of(kind: type[object], module: ModuleType) -> list[str]:
    return [it for it, value in vars(module).items() if isinstance(value, kind)]


def _with_its_line(error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.filename is not None:  # raised where Python reads the file, not in it
        return f"{error.msg} ({error.filename}:{error.lineno})"
    at = traceback.extract_tb(error.__traceback__)[-1]
    return f"{error} ({at.filename}:{at.lineno})"


def imported(name: str) -> ModuleType:
    """Import a module, from the present folder too, or the module that is in a file. Raises NoSuchThing."""
    file = Path(name)
    folder, module = (file.absolute().parent, file.stem) if file.suffix == ".py" else (Path.cwd(), name)
    if file.suffix == ".py" and not file.exists():
        raise NoSuchThing(f"there is no file {name}")
    sys.path.insert(0, str(folder))  # as `python shop/tasks.py` and `python -m shop.tasks` do
    try:
        made = importlib.import_module(module)
    except HalterError:
        raise
    except (Exception, SystemExit) as error:  # a program that ends as soon as it is imported is none of ours
        if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
            where = f"expected a module '{module}' in {folder} or installed"
            raise NoSuchThing(f"{where}, found none: there is no '{error.name}'") from error
        raise NoSuchThing(f"cannot import '{name}': {type(error).__name__}: {_with_its_line(error)}") from error
    source = getattr(made, "__file__", None)
    if file.suffix == ".py" and (source is None or Path(source).resolve() != file.resolve()):
        whose = "Python itself" if source is None else source
        raise NoSuchThing(
            f"expected a module in {file.absolute()}, found '{module}' of {whose}: name the file otherwise"
        )
    return made

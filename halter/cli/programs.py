"""Arguments that name something in a module of the user's: `shop.tasks:worker`, or `shop/tasks.py:worker`."""

from typing import TypeVar

from halter.cli.usage import BadOptions
from halter.files import programs
from halter.files.programs import NoTarget

Thing = TypeVar("Thing")


def thing_in(target: str, kind: type[Thing], example: str) -> Thing:
    """Import what `module:name` says, which is to be of a class. Raises BadOptions, NoSuchThing."""
    try:
        return programs.thing_in(target, kind, example)
    except NoTarget as problem:
        raise BadOptions(str(problem)) from problem

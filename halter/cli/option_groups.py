"""Groups of options that several commands have: each option is written once, as a field of a dataclass.

A command has one parameter for a group, in the place where `--help` lists its options:

    @dataclass(frozen=True)
    class Logging(OptionGroup):
        log_level: LogLevel = "info"

    @with_groups
    def show(wf_run_id: WfRunId, *, logging: Logging) -> None: ...

Knows signatures. Does not know what the options mean.
"""

import inspect
from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from inspect import Parameter
from typing import Any, Final, get_type_hints

KEYWORD: Final = Parameter.KEYWORD_ONLY


class OptionGroup:
    """Options that belong together. A subclass is a dataclass, whose fields are annotated as parameters are."""


def with_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each field of its groups, where these stand. Typer reads its signature."""
    signature = inspect.signature(command, eval_str=True)
    parameters: list[Parameter] = []
    groups: dict[str, tuple[type[Any], list[str]]] = {}
    for it in signature.parameters.values():
        kind = it.annotation
        if isinstance(kind, type) and issubclass(kind, OptionGroup):
            hints = get_type_hints(kind, include_extras=True)
            options = fields(kind)  # type: ignore[arg-type]  # a subclass is a dataclass
            parameters += [Parameter(of.name, KEYWORD, default=of.default, annotation=hints[of.name]) for of in options]
            groups[it.name] = kind, [of.name for of in options]
        else:
            parameters.append(it.replace(kind=KEYWORD))

    @wraps(command)
    def called(*arguments: Any, **given: Any) -> None:
        made = {
            name: kind(**{option: given.pop(option) for option in options if option in given})
            for name, (kind, options) in groups.items()
        }
        command(*arguments, **given, **made)

    called.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # Typer reads it
    return called

"""Writes the page of Python's names: signatures and docstrings of all that `halter` and its public modules list.

python -m docs.site.api
"""

import ast
import enum
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

MODULES = ("halter", "halter.workflow", "halter.events", "halter.testing")
"""The public modules: those that there are."""
LONG = 88
"""A signature that is longer has a line for each parameter."""
INDENTED = re.compile(r"(?:^|(?<=\n\n))((?: {4}[^\n]*\n*)+)", re.MULTILINE)


def page() -> str:
    """Return the page, as Markdown."""
    parts = [
        "# Python",
        "Every public name and its signature. [Halter in Python](python-api.md) is the guide. It says what is stable.",
    ]
    for name in MODULES:
        try:
            module = import_module(name)
        except ModuleNotFoundError:
            continue
        parts += [f"## {name}", *_module(module)]
    return "\n\n".join(parts) + "\n"


def _module(module: ModuleType) -> Iterator[str]:
    found = {name: getattr(module, name) for name in module.__all__}
    errors = {name: it for name, it in found.items() if isinstance(it, type) and issubclass(it, Exception)}
    rest = {name: it for name, it in found.items() if name not in errors}
    for name in sorted(rest, key=str.lower):
        yield from _entry(name, rest[name])
    if errors:
        yield "### Errors"
        rows = [f"| `{name}` | {_first(it)} |" for name, it in sorted(errors.items())]
        yield "\n".join(["| Error | When it is raised |", "|---|---|", *rows])


def _entry(name: str, value: Any) -> Iterator[str]:
    yield f"### {name}"
    if isinstance(value, type) and issubclass(value, enum.Enum):
        yield _text(value)
        yield ", ".join(f"`{member}`" for member in value.__members__)
    elif isinstance(value, type):
        yield _code("class", name, value)
        yield _text(value)
        yield from _members(value)
    elif callable(value):
        yield _code("def", name, value)
        yield _text(value)
    else:
        yield f"`{value}`"


def _members(cls: type) -> Iterator[str]:
    seen: set[str] = set()
    for owner in cls.__mro__:
        if not owner.__module__.startswith(("halter", "processors")):
            continue
        for name in vars(owner):
            if name.startswith("_") or name in seen:
                continue
            seen.add(name)
            member = inspect.getattr_static(cls, name)
            if isinstance(member, property):
                kind = _written(member.fget)[1].removeprefix(" -> ")
                yield f"**`{name}`**`: {kind}`" + (f" · {_first(member)}" if _first(member) else "")
            elif isinstance(member, staticmethod | classmethod) or inspect.isfunction(member):
                function = getattr(cls, name)
                if not inspect.getdoc(function) and is_dataclass(cls):
                    continue
                prefix = "async def" if inspect.iscoroutinefunction(function) else "def"
                yield f"#### {cls.__name__}.{name}"
                yield _code(prefix, name, function)
                yield _text(function)


def _code(kind: str, name: str, of: Any) -> str:
    """Return a signature as it is written in the source: with the names of types, and of defaults."""
    parameters, returns = _written(of)
    text = f"{kind} {name}({', '.join(parameters)}){returns}"
    if len(text) > LONG and parameters:
        lines = "".join(f"    {it},\n" for it in parameters)
        text = f"{kind} {name}(\n{lines}){returns}"
    return f"```python\n{text}\n```"


def _written(of: Any) -> tuple[list[str], str]:
    if not isinstance(of, type):
        (node,) = ast.parse(textwrap.dedent(inspect.getsource(of))).body
        assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        return _parameters(node.args), returns
    if not is_dataclass(of):
        return (_written(of.__init__)[0] if inspect.isfunction(of.__init__) else []), ""
    types = {}
    for owner in reversed(of.__mro__[:-1]):
        if is_dataclass(owner):
            (node,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
            assert isinstance(node, ast.ClassDef)
            types |= {
                it.target.id: it
                for it in node.body
                if isinstance(it, ast.AnnAssign) and isinstance(it.target, ast.Name)
            }
    found = []
    for it in fields(of):
        if it.init and not it.name.startswith("_"):
            has_default = it.default is not MISSING or it.default_factory is not MISSING
            value = types[it.name].value
            default = "..." if isinstance(value, ast.Call) or value is None else ast.unparse(value)
            found.append(
                f"{it.name}: {ast.unparse(types[it.name].annotation)}" + (f" = {default}" if has_default else "")
            )
    return found, ""


def _parameters(found: ast.arguments) -> list[str]:
    ordered = [*found.posonlyargs, *found.args]
    defaults = [None] * (len(ordered) - len(found.defaults)) + [*found.defaults]
    parts = [
        _parameter(it, default) for it, default in zip(ordered, defaults, strict=True) if it.arg not in {"self", "cls"}
    ]
    if found.posonlyargs and len(found.posonlyargs) > 1:
        parts.insert(len(found.posonlyargs) - 1, "/")
    if found.vararg:
        parts.append(f"*{_parameter(found.vararg, None)}")
    elif found.kwonlyargs:
        parts.append("*")
    parts += [_parameter(it, default) for it, default in zip(found.kwonlyargs, found.kw_defaults, strict=True)]
    if found.kwarg:
        parts.append(f"**{_parameter(found.kwarg, None)}")
    return parts


def _parameter(it: ast.arg, default: ast.expr | None) -> str:
    annotation = f": {ast.unparse(it.annotation)}" if it.annotation else ""
    equals = " = " if annotation else "="
    return f"{it.arg}{annotation}" + (f"{equals}{ast.unparse(default)}" if default else "")


def _text(of: Any) -> str:
    """Return a docstring whose indented parts are code."""
    found = inspect.getdoc(of) or ""
    if isinstance(of, type) and found.startswith(f"{of.__name__}("):
        return ""  # a dataclass without a docstring has its signature for one
    return INDENTED.sub(lambda it: "```python\n" + inspect.cleandoc(it[1]) + "\n```\n", found + "\n").strip()


def _first(of: Any) -> str:
    return (inspect.getdoc(of) or "").split("\n\n")[0].replace("\n", " ").replace("|", "\\|")


if __name__ == "__main__":
    print(page())

"""Writes the page of the command line: every command with its arguments and options, as `--help` has them.

python -m docs.site.cli
"""

import inspect
from collections.abc import Iterator
from typing import Any

from halter.cli import COMMANDS, load

KAFKA = "Where Kafka is"
SHARED = {"bootstrap", "properties_file", "properties", "prefix", "connect_timeout"}
"""Options that most commands have. They are told once."""
INTRODUCTION = """\
# Command line

`halter COMMAND --help` says the same in a terminal. Results go to stdout, everything else to stderr. A command ends
with 0, with 1 and one sentence if it could not do what was asked, with 2 if it was mistyped, and with 130 after Ctrl-C.
"""
AT_LAST = f"""\
## {KAFKA}

Commands with the note *and [where Kafka is](#where-kafka-is)* take these as well. [Settings](settings.md) says which
variable and which file counts.
"""


def page() -> str:
    """Return the page."""
    shared: dict[str, str] = {}
    parts = [INTRODUCTION]
    for panel in dict.fromkeys(it.panel for it in COMMANDS.values()):
        parts.append(f"## {panel}")
        for name, lazy in COMMANDS.items():
            if lazy.panel == panel:
                parts.extend(_command(f"halter {name}", load(name), shared))
    parts += [AT_LAST, _table("Option", shared.values())]
    return "\n\n".join(it.strip() for it in parts) + "\n"


def _command(path: str, command: Any, shared: dict[str, str]) -> Iterator[str]:
    context = command.make_context(path, [], resilient_parsing=True)
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield from _command(f"{path} {name}", inner, shared)
        return
    yield f"### {path}"
    yield f"```text\n{path} {' '.join(command.collect_usage_pieces(context))}\n```"
    yield inspect.cleandoc(command.help or "")
    options = []
    for it in command.params:
        if getattr(it, "hidden", False) or it.name == "help":
            continue
        row = _row(it, context)
        if it.name in SHARED and getattr(it, "rich_help_panel", None) == KAFKA:
            shared.setdefault(it.name, row)
        else:
            options.append(row)
    if options:
        yield _table("Argument or option", options)
    if any(it.name in SHARED and getattr(it, "rich_help_panel", None) == KAFKA for it in command.params):
        yield "*and [where Kafka is](#where-kafka-is)*"
    if command.epilog:
        yield inspect.cleandoc(command.epilog)


def _row(it: Any, context: Any) -> str:
    if it.param_type_name == "argument":
        named = f"`{it.make_metavar(context)}`"
    else:
        value = "" if it.is_flag else f" {it.make_metavar(context)}"
        named = ", ".join(f"`{name}`" for name in (*it.opts, *it.secondary_opts))
        named = named[:-1] + value + "`"
    words = " ".join((it.help or "").split())
    told = f"{words} Required." if it.required else words
    if (
        it.param_type_name != "argument"
        and not it.is_flag
        and it.default not in (None, (), [])
        and "Default" not in told
    ):
        told += f" Default: {it.default}."
    return "| " + " | ".join(text.replace("|", "\\|") for text in (named, told)) + " |"


def _table(head: str, rows: Any) -> str:
    return "\n".join([f"| {head} | |", "|---|---|", *rows])


if __name__ == "__main__":
    print(page())

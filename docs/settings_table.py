"""Write the tables of docs/settings.md from the code that reads the settings; with --check, fail if they differ.

python docs/settings_table.py
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from docs.made import between, write_or_check
from halter.client.connecting import Connection
from processors.kafka.own_variables import VARIABLES
from processors.kafka.property_checks import (
    ALWAYS_CONSUMER,
    ALWAYS_MEMBER,
    ALWAYS_PRODUCER,
    COMMON,
    REASONS,
    TRANSACTION_MS,
    spelled,
)
from processors.kafka.settings import DEFAULT_BOOTSTRAP

PAGE = Path(__file__).with_name("settings.md")
BEGIN, END = "<!-- made by docs/settings_table.py -->", "<!-- end -->"

ALSO = {
    "properties_file": ("HALTER_PROPERTIES", "--properties, -F"),
    "properties": ("KAFKA_...", "--property, -X"),
    "prefix": ("HALTER_PREFIX", "--prefix"),
    "partitions": ("HALTER_PARTITIONS", "--partitions"),
    "topics_file": ("HALTER_TOPICS", "--topics-file"),
}
"""The variable and the option of a command that say the same as an argument of a client."""


def arguments() -> Iterator[str]:
    """Yield the rows of what a client is told, with the variable and the option that say the same."""
    yield "| `Client(...)` | Variable | Option of commands |"
    yield "|---|---|---|"
    yield "| `bootstrap` | `KAFKA_BOOTSTRAP_SERVERS` | `--bootstrap, -b` |"
    for name in Connection.__annotations__:
        variable, option = ALSO[name]
        yield f"| `{name}` | `{variable}` | `{option}` |"


def variables() -> Iterator[str]:
    """Yield the rows of Halter's own variables."""
    yield "| Variable | What it is | Default | Who reads it |"
    yield "|---|---|---|---|"
    for name, it in VARIABLES.items():
        yield f"| `{name}` | {it.meaning} | {it.default} | {it.read_by} |"


def defaults() -> Iterator[str]:
    """Yield the rows of properties for which Halter has another default than librdkafka."""
    yield "| Property | Halter's default |"
    yield "|---|---|"
    yield f"| `bootstrap.servers` | `{DEFAULT_BOOTSTRAP}` |"
    for name, value in COMMON.items():
        yield f"| `{name}` | `{spelled(value)}` |"


def fixed() -> Iterator[str]:
    """Yield the rows of properties that nobody may set otherwise."""
    yield "| Property | Halter's value | Why |"
    yield "|---|---|---|"
    values = {**ALWAYS_PRODUCER, **ALWAYS_CONSUMER, **ALWAYS_MEMBER}
    for name, reason in REASONS.items():
        value = f"`{spelled(values[name])}`" if name in values else "set by Halter"
        yield f"| `{name}` | {value} | {reason} |"
    allowed = f"{TRANSACTION_MS[0]} to {TRANSACTION_MS[-1]}"
    why = "a turn of less is cut off, and for longer readers would wait for what a dead worker left open"
    yield f"| `transaction.timeout.ms` | {allowed} | {why} |"


def page(text: str) -> str:
    """Return the page with the tables as the code has them now."""
    made = (arguments, variables, defaults, fixed)
    return between(text, BEGIN, END, *("\n".join(["", "", *table(), "", ""]) for table in made))


if __name__ == "__main__":
    sys.exit(write_or_check(__file__, PAGE, page))

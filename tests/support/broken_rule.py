"""A bug in a rule, made on purpose: it raises on the commands that a test names, in the middle of its work."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from processors.core.records.commands import Command
from processors.core.records.events import Event
from processors.core.records.model import WfRun
from processors.core.rules import engine
from processors.core.rules.context import Context


class RuleBroke(Exception):
    """The exception that a bug in a rule raises."""


def breaking(breaks: Callable[[Command], bool]) -> Callable[[WfRun, Command, Context, int], Iterator[Event]]:
    """The rules, except for those commands: when the rule raises, their first event has happened."""
    decide = engine.decide

    def broken(run: WfRun, command: Command, context: Context, time_ms: int) -> Iterator[Event]:
        for event in decide(run, command, context, time_ms):
            yield event
            if breaks(command):
                raise RuleBroke(f"told to, by {type(command).__name__}")

    return broken


@contextmanager
def broken_rule(breaks: Callable[[Command], bool]) -> Iterator[None]:
    """Make a rule raise on these commands."""
    rules = engine.decide
    engine.decide = breaking(breaks)
    try:
        yield
    finally:
        engine.decide = rules

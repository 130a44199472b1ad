"""What stands at the right upper corner of a node in a diagram: how many threads are there, which, and how often it
was visited.

Knows how wide all this is, so that no diagram cuts it off. Does not know WfRuns, nor the view.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from halter.show.drawing import Drawing, DrawnNode

NUMBERS_MAX: Final = 3
"""Threads of a WfRun that a pill names; its title has more."""
TITLE_MAX: Final = 20
LETTER: Final = 7.0
"""Width of a letter of a pill, in pixels, as the style has it."""
ENDS: Final = 12.0
"""Width of both ends of a pill, in pixels."""
GAP: Final = 3.0


@dataclass(frozen=True, slots=True)
class Pill:
    """A pill, at its place in the diagram. `status` is that of its threads; empty in the diagram of one WfRun."""

    status: str
    words: str
    title: str
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Marks:
    """The pills of a diagram by node, and the width that it needs with all that stands at its nodes."""

    pills: Mapping[str, Sequence[Pill]]
    width: float


def marks_of(
    drawing: Drawing,
    counts: Mapping[str, Mapping[str, int]],
    now: Mapping[str, Sequence[int]],
    visits: Mapping[str, int],
) -> Marks:
    """Place what stands at the nodes of a drawing, each by its name.

    `counts`: how many threads of each status; `now`: the numbers of threads; `visits`: how often it was visited.
    """
    pills = {
        node.name: list(_in_a_row(node, [*_counted(node, counts.get(node.name, {})), *_named(node, now)]))
        for node in drawing.nodes
    }
    ends = [pill.x + pill.width + 1 for row in pills.values() for pill in row]
    ends += [
        node.x + node.width + 4 + LETTER * (len(str(number)) + 1)  # and the sign after it
        for node in drawing.nodes
        if (number := visits.get(node.name, 0)) > 1
    ]
    return Marks(pills, max([drawing.width, *ends]))


def _counted(node: DrawnNode, counts: Mapping[str, int]) -> Iterator[tuple[str, str, str]]:
    for status, number in counts.items():
        threads = f"{number:,} thread{'' if number == 1 else 's'}"
        yield status, f"{number:,}", f"{threads} {status} at {node.name}"


def _named(node: DrawnNode, now: Mapping[str, Sequence[int]]) -> Iterator[tuple[str, str, str]]:
    if numbers := now.get(node.name, ()):
        some, many = numbers[:NUMBERS_MAX], numbers[:TITLE_MAX]
        threads = f"thread {many[0]} is" if len(many) == 1 else f"threads {', '.join(map(str, many))} are"
        yield "", f"#{' '.join(map(str, some))}", f"{threads} at {node.name}"


def _in_a_row(node: DrawnNode, texts: Sequence[tuple[str, str, str]]) -> Iterator[Pill]:
    x = node.x + node.width - 6
    for status, words, title in texts:
        width = LETTER * len(words) + ENDS
        yield Pill(status, words, title, round(x, 1), width)
        x += width + GAP

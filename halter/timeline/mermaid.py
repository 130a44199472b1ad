"""Draws a recording as a Mermaid sequence diagram: a participant for each thread, an arrow for each thing that one does
to another.

It shows what the arrows of the page show, and how each thread ends. A long history is cut: nobody reads a diagram of a
thousand arrows, and Mermaid draws none.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

ARROWS_MAX: Final = 200
"""Most arrows of a diagram. Mermaid refuses texts above 50,000 characters."""
TEXT_MAX: Final = 60
_SHAPES: Final = {"halts": "-x", "fails": "--x", "resumes": "-->>", "lets go": "-->>"}
_MEANT: Final = str.maketrans({it: f"#{ord(it)};" for it in '#;<>&"%:\\{}`'})
"""Characters that Mermaid takes for something else, and how to write them."""


def sequence(data: Mapping[str, Any]) -> str:
    """The text of the diagram, for ```mermaid blocks and every tool that draws Mermaid."""
    return "\n".join(_lines(data)) + "\n"


def _lines(data: Mapping[str, Any]) -> Iterator[str]:
    steps = list(_steps(data))
    taken = steps[:ARROWS_MAX]
    drawn = {number for _, numbers, _ in taken for number in numbers}
    yield "sequenceDiagram"
    yield f"    participant world as {_text('outside')}"
    for thread in data["threads"]:
        if thread["number"] in drawn:
            name = "#{number} {spec}".format_map(thread)
            yield f"    participant t{thread['number']} as {_text(name)}"
    for _, _, line in taken:
        yield f"    {line}"
    if len(steps) > len(taken):
        yield f"    Note over world: {_text(f'and {len(steps) - len(taken)} more')}"


def _steps(data: Mapping[str, Any]) -> Iterator[tuple[int, tuple[int, ...], str]]:
    """Yield the event, the threads and the line of each arrow and of each end of a thread, in order."""
    arrows: dict[int, list[list[Any]]] = {}
    for arrow in data["arrows"]:
        arrows.setdefault(arrow[0], []).append(arrow)
    for at, event in enumerate(data["events"]):
        kind, thread = data["kinds"][event[2]][0], event[3]
        for _, source, target, what in arrows.get(at, ()):
            if isinstance(source, str):
                it = data["external"][int(source[1:])]
                words = " ".join((it["def"], it["id"], what))
                yield at, (target,), f"world->>t{target}: {_text(words)}"
            else:
                yield at, (source, target), f"t{source}{_SHAPES.get(what, '->>')}t{target}: {_text(what)}"
        if kind in {"ThreadCompleted", "ThreadFailed", "ThreadRescued"}:
            words = f"{kind.removeprefix('Thread').lower()} {event[5]}"
            yield at, (thread,), f"Note over t{thread}: {_text(words)}"
        if kind == "TaskAttemptRequested":
            yield at, (thread,), f"t{thread}->>world: {_text('task ' + event[5])}"
        if kind in {"TaskAttemptStarted", "TaskAttemptProgressed"}:
            words = f"{event[5].partition(',')[0]} started" if kind == "TaskAttemptStarted" else event[5]
            yield at, (thread,), f"world-->>t{thread}: {_text(words)}"
        if kind == "TaskAttemptEnded":
            yield at, (thread,), f"world-->>t{thread}: {_text(event[5])}"


def _text(words: str) -> str:
    words = words.strip()
    return (words if len(words) <= TEXT_MAX else words[: TEXT_MAX - 1] + "…").translate(_MEANT)

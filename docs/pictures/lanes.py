"""Draws what happened to a WfRun, as SVG: a lane for each thread over time, and the log below it.

Each input record is a column: its events were committed together. On a narrow screen time goes down, and the lanes
stand side by side. The states are folded from the log (halter/timeline/recording.py): a picture shows what the rules
did.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import groupby, pairwise

from halter.history.logged import Logged
from halter.timeline import recording
from processors.core.records.events import LogEntry
from processors.core.rules.context import WfSpecLookup

SANS = "-apple-system,BlinkMacSystemFont,'Segoe UI','Noto Sans',Helvetica,Arial,sans-serif"
MONO = "ui-monospace,SFMono-Regular,'SF Mono',Menlo,Consolas,'Liberation Mono',monospace"
ENDED = {"COMPLETED", "ERROR", "EXCEPTION"}


@dataclass(frozen=True)
class Theme:
    """The colours of a picture. What is behind it is the page."""

    text: str
    quiet: str
    rule: str
    panel: str
    fills: dict[str, str]
    inks: dict[str, str]
    event: str


LIGHT = Theme(
    text="#1f2328", quiet="#59636e", rule="#d1d9e0", panel="#f6f8fa", event="#b45309",
    fills={"RUNNING": "#1a7f5a", "HALTING": "#f2b84b", "HALTED": "#e4e8ec", "ERROR": "#c5303c", "TASK": "#ffffff"},
    inks={"RUNNING": "#ffffff", "HALTING": "#3d2a00", "HALTED": "#4b5560", "ERROR": "#ffffff", "TASK": "#1f2328"},
)  # fmt: skip
DARK = Theme(
    text="#e6edf3", quiet="#9198a1", rule="#3d444d", panel="#151b23", event="#f0b45c",
    fills={"RUNNING": "#238a63", "HALTING": "#d9982b", "HALTED": "#2a313c", "ERROR": "#c5303c", "TASK": "#0d1117"},
    inks={"RUNNING": "#ffffff", "HALTING": "#1f1500", "HALTED": "#aab3bd", "ERROR": "#ffffff", "TASK": "#e6edf3"},
)  # fmt: skip


@dataclass
class Stretch:
    """A time during which nothing of a thread changed."""

    start_ms: int
    status: str
    node: str
    task: str | None
    end_ms: int = 0


@dataclass
class Lane:
    """A thread."""

    number: int
    spec: str
    note: str
    parent: int | None
    stretches: list[Stretch] = field(default_factory=list)
    ended_ms: int | None = None


@dataclass
class Column:
    """An input record with what came of it."""

    time_ms: int
    label: str
    detail: str
    events: list[str]
    is_event: bool


@dataclass
class Scene:
    """What a picture shows."""

    lanes: list[Lane]
    columns: list[Column]
    title: str

    @property
    def start_ms(self) -> int:
        """When it begins."""
        return self.columns[0].time_ms

    @property
    def end_ms(self) -> int:
        """When it ends."""
        return self.columns[-1].time_ms


def scene(
    title: str,
    wf_run_id: str,
    entries: Sequence[LogEntry],
    wf_specs: WfSpecLookup,
    labels: Iterable[tuple[str, str]],
    quiet: Iterable[str] = (),
) -> Scene:
    """Return what the log of a WfRun shows.

    `labels` has a name and a detail for each input record, and `quiet` the events that are left out.
    """
    data = recording(wf_run_id, [Logged(None, it) for it in entries], wf_specs)
    names = [name for name, _ in data["kinds"]]
    notes = {"ENTRYPOINT": "", "INTERRUPT": "Interrupt Handler", "CHILD": "child", "FAILURE_HANDLER": "failure handler"}
    lanes = {it["number"]: Lane(it["number"], it["spec"], notes[it["type"]], it["parent"]) for it in data["threads"]}
    fields: dict[str, object] = {}
    for event in data["events"]:
        fields |= event[7]
        for lane in lanes.values():
            if f"t{lane.number}.status" not in fields:
                continue
            _follow(lane, event[1], *(fields.get(f"t{lane.number}.{name}") for name in ("status", "node", "task")))
    left_out = set(quiet)
    columns = []
    causes = groupby(data["events"], key=lambda it: (it[1], it[4]))
    for (_, found), (label, detail) in zip(causes, labels, strict=True):
        group = list(found)
        shown = [(names[it[2]], it[3]) for it in group if names[it[2]] not in left_out]
        events = [
            name if thread < 0 or name.startswith("TaskAttempt") else f"{name} #{thread}" for name, thread in shown
        ]
        columns.append(Column(group[0][1], label, detail, events, names[group[0][2]] == "ExternalEventPosted"))
    picture = Scene(list(lanes.values()), columns, title)
    for lane in picture.lanes:
        for it, after in zip(lane.stretches, [*lane.stretches[1:], None], strict=True):
            it.end_ms = after.start_ms if after else picture.end_ms
        lane.stretches = [it for it in lane.stretches if it.end_ms > it.start_ms and it.status not in ENDED]
    return picture


def _follow(lane: Lane, at: int, status: object, node: object, task: object) -> None:
    name = str(task).split(",")[0] if task else None
    last = lane.stretches[-1] if lane.stretches else None
    if last is None or (last.status, last.node, last.task) != (status, node, name):
        if last is not None and last.start_ms == at:
            lane.stretches.pop()
        lane.stretches.append(Stretch(at, str(status), str(node), name))
    if str(status) in ENDED and lane.ended_ms is None:
        lane.ended_ms = at


class Svg:
    """An SVG, as it is written."""

    def __init__(self, width: float, height: float, title: str, theme: Theme) -> None:
        self._theme = theme
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img"',
            f'width="{width:g}" height="{height:g}" font-family="{SANS}">',
            f"<title>{escape(title)}</title>",
            '<defs><pattern id="h" width="8" height="8" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">',
            f'<rect width="8" height="8" fill="{theme.fills["HALTING"]}"/>',
            f'<rect width="3" height="8" fill="{theme.inks["HALTING"]}" opacity=".16"/></pattern></defs>',
        ]

    def box(
        self, x: float, y: float, w: float, h: float, fill: str, *, line: str = "none", r: float = 4, dash: str = ""
    ) -> None:
        """Draw a rectangle."""
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self._parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="{r:g}" fill="{fill}" stroke="{line}"{dashed}/>'
        )

    def line(
        self, x1: float, y1: float, x2: float, y2: float, colour: str, *, dash: str = "", width: float = 1
    ) -> None:
        """Draw a line."""
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        ends = f'x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}"'
        self._parts.append(f'<line {ends} stroke="{colour}" stroke-width="{width:g}"{dashed}/>')

    def head(self, x: float, y: float, colour: str, *, right: bool = False) -> None:
        """Draw the head of an arrow that points down, or to the right."""
        points = (
            f"{x - 6:g},{y - 4:g} {x - 6:g},{y + 4:g} {x:g},{y:g}"
            if right
            else f"{x - 4:g},{y - 6:g} {x + 4:g},{y - 6:g} {x:g},{y:g}"
        )
        self._parts.append(f'<polygon points="{points}" fill="{colour}"/>')

    def text(
        self,
        x: float,
        y: float,
        text: str,
        colour: str,
        *,
        size: float = 13,
        bold: bool = False,
        mono: bool = False,
        at: str = "start",
    ) -> None:
        """Write a line of text."""
        style = (' font-weight="600"' if bold else "") + (f' font-family="{MONO}"' if mono else "")
        anchor = "" if at == "start" else f' text-anchor="{at}"'
        self._parts.append(
            f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" fill="{colour}"{style}{anchor}>{escape(text)}</text>'
        )

    def upright(self, x: float, y: float, text: str, colour: str) -> None:
        """Write a word from bottom to top."""
        self._parts.append(
            f'<text transform="translate({x:g} {y:g}) rotate(-90)" font-size="11.5" font-weight="600" '
            f'text-anchor="middle" fill="{colour}">{escape(text)}</text>'
        )

    def finished(self) -> str:
        """Return the SVG."""
        return "\n".join([*self._parts, "</svg>", ""])


TELLING = {"ExternalEventPosted", "Halt", "ThreadHalted", "SpawnChild", "Resume", "ThreadFailed", "InterruptSuperseded"}
"""Events that tell the story of an interrupt: they stand out."""


def _tells(event: str) -> bool:
    return event.partition(" ")[0] in TELLING


GUTTER, RIGHT, LANE, BAR, STEP = 150.0, 12.0, 62.0, 28.0, 17.0


def wide(it: Scene, theme: Theme, width: float = 940) -> str:
    """Draw time from left to right, for a page."""
    rows = max(len(column.events) for column in it.columns)
    top, log = 54.0, 54.0 + LANE * len(it.lanes) + 26
    height = log + 14 + max(rows, 3) * STEP + 8
    svg = Svg(width, height, it.title, theme)
    last = 156.0  # the last column has a text, too
    scale = (width - GUTTER - RIGHT - last) / (it.end_ms - it.start_ms)

    def x(ms: int) -> float:
        return round(GUTTER + (ms - it.start_ms) * scale, 1)

    svg.box(0.5, log, width - 1, height - log - 0.5, theme.panel, line=theme.rule, r=6)
    svg.text(14, log + 22, "The log", theme.text, size=13, bold=True)
    svg.text(14, log + 40, "one column,", theme.quiet, size=11.5)
    svg.text(14, log + 55, "one commit", theme.quiet, size=11.5)
    for column in it.columns:
        at = x(column.time_ms)
        colour = theme.event if column.is_event else theme.quiet
        svg.line(
            at,
            40 if not column.is_event else 34,
            at,
            height - 12,
            colour if column.is_event else theme.rule,
            dash="" if column.is_event else "3 4",
        )
        svg.text(at, 16, column.label, colour, size=13.5, bold=True)
        svg.text(at, 32, column.detail, theme.text if column.is_event else theme.quiet, size=12)
        for row, text in enumerate(column.events):
            colour = theme.text if _tells(text) else theme.quiet
            svg.text(at + 8, log + 22 + row * STEP, text, colour, size=11.6, mono=True, bold=_tells(text))
    for row, lane in enumerate(it.lanes):
        y = top + LANE * row
        svg.text(14, y + 18, f"#{lane.number} {lane.spec}", theme.text, size=13.5, bold=True)
        svg.text(14, y + 34, lane.note, theme.quiet, size=11.5)
        for stretch in lane.stretches:
            a, b = x(stretch.start_ms), x(stretch.end_ms)
            _bar(svg, theme, stretch, a, y + 2, b - a, BAR)
            svg.text(a + 9, y + 20.5, _words(stretch, b - a), theme.inks[stretch.status], size=12, bold=True)
        if lane.ended_ms is not None:
            a = x(lane.ended_ms)
            svg.line(a, y, a, y + BAR + 4, theme.fills["RUNNING"], width=3)
        _tasks(svg, theme, lane, x, y + BAR + 5)
    for column in it.columns:
        if column.is_event:
            svg.head(x(column.time_ms), top + 2, theme.event)
    return svg.finished()


def _bar(svg: Svg, theme: Theme, stretch: Stretch, x: float, y: float, w: float, h: float) -> None:
    match stretch.status:
        case "HALTING":
            svg.box(x, y, w, h, "url(#h)")
        case "HALTED":
            svg.box(x, y, w, h, theme.fills["HALTED"], line=theme.quiet, dash="4 3")
        case status:
            svg.box(x, y, w, h, theme.fills[status])


def _words(stretch: Stretch, width: float) -> str:
    text = stretch.status if stretch.status != "RUNNING" else f"RUNNING · {stretch.node}"
    return text if width > len(text) * 7.4 + 10 else stretch.status if width > len(stretch.status) * 7.4 + 10 else ""


def _tasks(svg: Svg, theme: Theme, lane: Lane, x: "Callable[[int], float]", y: float) -> None:
    for task, found in groupby(lane.stretches, key=lambda it: it.task):
        group = list(found)
        if task is not None:
            a, b = x(group[0].start_ms), x(group[-1].end_ms)
            svg.line(a + 2, y + 5, b - 8, y + 5, theme.quiet, width=1.5)
            svg.head(b - 2, y + 5, theme.quiet, right=True)
            svg.text(a + 6, y + 19, f"task {task} is out", theme.quiet, size=11)


def narrow(it: Scene, theme: Theme, width: float = 380) -> str:
    """Draw time from top to bottom, for a phone."""
    bar, first = 30.0, 8.0
    lane_x = {lane.number: first + 38 * row for row, lane in enumerate(it.lanes)}
    text_x = first + 38 * len(it.lanes) + 12
    tops, y = [], 40.0
    for column in it.columns:
        tops.append(y)
        y += 24 + 18 * len(column.events) + 20
    height = y

    def at(ms: int) -> float:
        for (a, b), (start, end) in zip(pairwise(tops), pairwise(it.columns), strict=True):
            if start.time_ms <= ms <= end.time_ms:
                return a + (b - a) * (ms - start.time_ms) / (end.time_ms - start.time_ms)
        return tops[-1]

    svg = Svg(width, height, it.title, theme)
    for lane in it.lanes:
        x = lane_x[lane.number]
        svg.text(x + bar / 2, 24, f"#{lane.number}", theme.text, size=14, bold=True, at="middle")
        for stretch in lane.stretches:
            top, bottom = at(stretch.start_ms), at(stretch.end_ms)
            _bar(svg, theme, stretch, x, top, bar, bottom - top)
            svg.upright(x + bar / 2 + 4, (top + bottom) / 2, stretch.status, theme.inks[stretch.status])
    svg.text(text_x, 24, " · ".join(f"#{lane.number} {lane.spec}" for lane in it.lanes[:3]), theme.quiet, size=13)
    for top, column in zip(tops, it.columns, strict=True):
        colour = theme.event if column.is_event else theme.quiet
        svg.line(
            first, top, width - 8, top, colour if column.is_event else theme.rule, dash="" if column.is_event else "3 4"
        )
        svg.text(text_x, top + 18, column.label, colour if column.is_event else theme.text, size=14, bold=True)
        svg.text(text_x + len(column.label) * 8.2 + 8, top + 18, column.detail, theme.quiet, size=12.5)
        for row, text in enumerate(column.events):
            colour = theme.text if _tells(text) else theme.quiet
            svg.text(text_x, top + 37 + 18 * row, text, colour, size=12.5, mono=True, bold=_tells(text))
    return svg.finished()

"""Takes the pictures of a timeline that README.md and docs/debugging.md show: docs/timeline-*.png.

    python -m docs.timeline_pictures

The history is that of a cart (examples/cart) that gets another item while the customer's card is charged. It needs a
Chromium (tests/support/chromium.py). Those in docs were reduced to 128 colours afterwards.
"""

import tempfile
from pathlib import Path

from halter.files.definition_files import read_definition_file
from halter.history.logged import Logged
from halter.scenarios.definitions import register
from halter.scenarios.memory import MemoryEngine
from halter.show.redaction import Redactor
from halter.timeline import html, recording
from processors.core.records.commands import (
    ExternalEvent,
    ReportTaskRun,
    RunWf,
)
from processors.core.records.events import Halt
from processors.core.records.model import TaskStatus
from processors.core.rules.context import Context, Limits
from tests.support.chromium import browser

FOLDER = Path(__file__).parent
WF_RUN = "cart-1"
START_MS = 1_796_040_183_000
VIEWPORT = {"width": 1280, "height": 1120}


def history() -> MemoryEngine:
    """Return an engine in which a cart was filled, checked out and changed while the card was charged."""
    definitions, refused = register(read_definition_file(FOLDER.parent / "examples/cart/cart.yaml").commands)
    assert not refused, refused
    engine = MemoryEngine(Context(definitions, Limits()), START_MS)
    engine.put(RunWf(WF_RUN, "cart", {"customer": "Ann", "card": "4111111111111111"}))
    mug = {"sku": "mug-01", "name": "Stoneware mug", "quantity": 2, "price_cents": 1450}
    pan = {"sku": "pan-28", "name": "Cast iron pan", "quantity": 1, "price_cents": 5900}
    for wait_ms, event, event_id, content in (
        (4_210, "item-added", "7f03", mug),
        (2_380, "address-changed", "a1", "12 Harbour Street"),
        (1_140, "slot-chosen", "s1", "Tuesday morning"),
        (3_020, "checkout", "c1", None),
        (640, "item-added", "81c9", pan),
    ):
        engine.pass_time(wait_ms)
        engine.put(ExternalEvent(WF_RUN, event, event_id, content))
    engine.pass_time(1_830)
    run = engine.runs[WF_RUN]
    node = run.threads[0].node
    assert node.task is not None
    at = 0, node.position, node.task.attempt
    engine.put(ReportTaskRun(WF_RUN, run.incarnation, *at, TaskStatus.SUCCESS, output="receipt-20391"))
    return engine


def main() -> None:
    """Take the pictures."""
    engine = history()
    entries = Redactor(engine.context.definitions).entries(engine.log_of(WF_RUN))
    data = recording(WF_RUN, [Logged(None, it) for it in entries], engine.context.definitions)
    halted = [entry.seq for entry in entries if isinstance(entry.event, Halt)]
    with tempfile.TemporaryDirectory() as folder, browser() as chromium:
        file = Path(folder, "timeline.html")
        file.write_text(html(data), encoding="utf-8")
        for theme, address in (("light", f"#e{halted[-1]}"), ("dark", f"#e{halted[0]}..e{entries[-1].seq}")):
            context = chromium.new_context(viewport=VIEWPORT, color_scheme=theme)  # type: ignore[arg-type]
            page = context.new_page()
            page.goto(file.as_uri() + address)
            page.locator("#details h2").wait_for()
            page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
            page.screenshot(path=FOLDER / f"timeline-{theme}.png")
            context.close()


if __name__ == "__main__":
    main()

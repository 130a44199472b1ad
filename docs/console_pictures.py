"""Takes the pictures of the console that README.md and docs/console.md show: docs/console-*.png.

    python -m docs.console_pictures

The console reads the shop of tests/support/views.py, whose last event is some seconds old, and Kafka is an engine in
memory. It needs a Chromium (tests/support/chromium.py).
"""

import tempfile
import time
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, ViewportSize

from tests.support import views
from tests.support.chromium import browser
from tests.support.console_pages import Shop, shop

FOLDER: Final = Path(__file__).parent
BYTES_MAX: Final = 200_000
"""Largest size of a picture: README.md loads two of them."""
WIDE: Final[ViewportSize] = {"width": 1280, "height": 760}
PHONE: Final[ViewportSize] = {"width": 390, "height": 760}
AGO_MS: Final = 50_000
PICTURES: Final = (
    ("overview", "/", WIDE, "light"),
    ("wf-runs", "/wf-runs", WIDE, "dark"),
    ("wf-run", "/wf-runs/order-halted#e9", WIDE, "light"),
    ("wf-spec", "/wf-specs/cart", WIDE, "light"),
    ("phone", "/wf-runs/order-killed/diagram", PHONE, "dark"),
)
"""Name, address, size and theme of each."""


def take(chromium: Browser, made: Shop, folder: Path) -> list[Path]:
    """Take the pictures into a folder."""
    taken = []
    for name, address, viewport, theme in PICTURES:
        context = chromium.new_context(viewport=viewport, color_scheme=theme)  # type: ignore[arg-type]
        page = context.new_page()
        page.goto(made.console.url + address)
        if "#" in address:
            page.locator("#details h2").wait_for()
        page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        taken.append(folder / f"console-{name}.png")
        page.screenshot(path=taken[-1])
        context.close()
    return taken


def main() -> None:
    """Take the pictures."""
    views.START_MS = time.time_ns() // 1_000_000 - AGO_MS  # type: ignore[misc]
    with tempfile.TemporaryDirectory() as folder, shop(Path(folder)) as made, browser() as chromium:
        for path in take(chromium, made, FOLDER):
            size = path.stat().st_size
            print(f"{path.name}: {size:,} bytes")
            assert size <= BYTES_MAX, f"expected at most {BYTES_MAX:,} bytes, found {size:,}"


if __name__ == "__main__":
    main()

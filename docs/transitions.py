"""Write the diagram of docs/rules/threads.md from the table in the code; with --check, fail if it differs.

python docs/transitions.py
"""

import sys
from pathlib import Path

from docs.made import between, write_or_check
from processors.core.records.model import TRANSITION_CAUSES

PAGE = Path(__file__).parent / "rules" / "threads.md"
BEGIN, END = "<!-- from model.TRANSITION_CAUSES: begin -->", "<!-- from model.TRANSITION_CAUSES: end -->"


def diagram() -> str:
    """Return the transitions as a Mermaid state diagram."""
    # A colon would end the label.
    lines = [
        f"    {before or '[*]'} --> {after}: {cause.replace(':', '')}"
        for (before, after), cause in TRANSITION_CAUSES.items()
    ]
    ends = ["    COMPLETED --> [*]", "    EXCEPTION --> [*]"]
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, *ends, "```"])


def page(text: str) -> str:
    """Return the page with the diagram as the code has it now."""
    return between(text, BEGIN, END, f"\n{diagram()}\n")


if __name__ == "__main__":
    sys.exit(write_or_check(__file__, PAGE, page))

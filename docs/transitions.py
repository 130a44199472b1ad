"""Write the diagram of docs/rules/threads.md from the table in the code; with --check, fail if it differs.

python docs/transitions.py
"""

import sys
from pathlib import Path

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


def main() -> int:
    """Write or check the page."""
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    wanted = f"{before}{BEGIN}\n{diagram()}\n{END}{rest.split(END)[1]}"
    if "--check" in sys.argv[1:]:
        if text != wanted:
            print(f"{PAGE.name} is not what the code says: run python docs/transitions.py", file=sys.stderr)
            return 1
    else:
        PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

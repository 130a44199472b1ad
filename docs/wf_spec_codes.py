"""Write the table of codes in docs/wf-spec.md; with --check, fail if it differs.

python docs/wf_spec_codes.py
"""

import sys
from pathlib import Path

from processors.core.validate import CODES

PAGE = Path(__file__).with_name("wf-spec.md")
BEGIN, END = "<!-- codes: begin -->", "<!-- codes: end -->"


def page(text: str) -> str:
    """The page with the table that belongs in it."""
    before, rest = text.split(BEGIN)
    rows = "\n".join(f"| {code} | {meaning} |" for code, meaning in CODES.items())
    return f"{before}{BEGIN}\n| Code | What it means |\n|---|---|\n{rows}\n{END}{rest.split(END)[1]}"


def main() -> int:
    """Write the page, or compare it."""
    found = PAGE.read_text(encoding="utf-8")
    wanted = page(found)
    if "--check" in sys.argv:
        if found != wanted:
            print(f"{PAGE.name} is not what `python docs/{Path(__file__).name}` writes")
        return int(found != wanted)
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

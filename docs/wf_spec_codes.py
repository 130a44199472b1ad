"""Write the diagram of the example and the table of codes in docs/wf-spec.md; with --check, fail if they differ.

python docs/wf_spec_codes.py
"""

import re
import sys
from pathlib import Path

from halter.files.yaml_files import parse_yaml
from halter.show.diagram import mermaid
from processors.core.wf_spec.validate import CODES, check_document

PAGE = Path(__file__).with_name("wf-spec.md")


def page(text: str) -> str:
    """The page with the diagram and the table that belong in it."""
    rows = "\n".join(f"| {code} | {meaning} |" for code, meaning in CODES.items())
    text = _filled(text, "codes", f"| Code | What it means |\n|---|---|\n{rows}\n")
    return _filled(text, "diagram", f"```mermaid\n{_diagram(text)}```\n")


def _filled(text: str, part: str, content: str) -> str:
    begin, end = f"<!-- {part}: begin -->", f"<!-- {part}: end -->"
    before, rest = text.split(begin)
    return f"{before}{begin}\n{content}{end}{rest.split(end)[1]}"


def _diagram(text: str) -> str:
    """What `halter spec show --mermaid` draws of the page's first example."""
    example = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[0]
    wf_spec, problems = check_document(parse_yaml(example, PAGE.name).data, None)
    assert wf_spec is not None, problems
    return mermaid(wf_spec)


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

"""Write the diagram of the example and the table of codes in docs/wf-spec.md; with --check, fail if they differ.

python docs/wf_spec_codes.py
"""

import re
import sys
from pathlib import Path

from docs.made import between, write_or_check
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
    return between(text, f"<!-- {part}: begin -->", f"<!-- {part}: end -->", f"\n{content}")


def _diagram(text: str) -> str:
    """What `halter spec show --mermaid` draws of the page's first example."""
    example = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[0]
    wf_spec, problems = check_document(parse_yaml(example, PAGE.name).data, None)
    assert wf_spec is not None, problems
    return mermaid(wf_spec)


if __name__ == "__main__":
    sys.exit(write_or_check(__file__, PAGE, page))

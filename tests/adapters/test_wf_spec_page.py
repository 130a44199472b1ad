"""docs/wf-spec.md says what is so."""

import re
import runpy
from pathlib import Path

import pytest

from halter.yaml_files import parse_yaml
from processors.core.documents import _EXPRESSIONS, _KINDS
from processors.core.spec import MutationOperator
from processors.core.validate import check_document

PAGE = Path(__file__).parents[2] / "docs" / "wf-spec.md"


def test_the_table_of_codes_is_the_one_of_the_code(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.argv", ["wf_spec_codes.py", "--check"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(PAGE.with_name("wf_spec_codes.py")), run_name="__main__")
    assert ended.value.code == 0


def test_the_example_is_valid():
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    wf_spec, problems = check_document(parse_yaml(example, "wf-spec.md").data, None)
    assert [str(problem) for problem in problems] == []
    assert wf_spec is not None


def test_everything_that_can_be_written_is_on_the_page():
    text = PAGE.read_text()
    words = {*_KINDS, *_EXPRESSIONS, *MutationOperator, *(field for form in _KINDS.values() for field in form.fields)}
    assert [word for word in sorted(words) if not re.search(rf"\b{word}\b", text)] == []

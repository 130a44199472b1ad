"""docs/task-workers.md: its handler fits its TaskDef, and its test of a handler passes."""

import re
from pathlib import Path

import pytest

from halter.files.definition_files import read_definition_file
from halter.task_worker.handlers import typed
from processors.core.records.commands import DefinitionKind, PutTaskDef
from processors.core.records.events import Definition

PAGE = Path(__file__).parents[2] / "docs" / "task-workers.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def test_the_handler_of_the_page_fits_its_task_def(tmp_path: Path) -> None:
    (definitions, _), (handler, progress, test) = blocks("yaml"), blocks("python")
    names: dict[str, object] = {"pytest": pytest, "__name__": __name__}
    exec(handler + progress + test, names)
    file = tmp_path / "shop.yaml"
    file.write_text(definitions)
    (put,) = read_definition_file(file).commands
    assert isinstance(put, PutTaskDef)
    task_def = Definition(DefinitionKind.TASK_DEF, put.name, 1, 0, input=put.input, output=put.output)
    mismatches = typed(put.name, names["charge_card"]).mismatches  # type: ignore[arg-type]
    assert mismatches is not None
    assert list(mismatches(task_def)) == []
    names["test_a_large_sum_is_declined"]()  # type: ignore[operator]

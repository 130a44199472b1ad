"""`halter task-worker`: what it says about a TaskWorker that is not where the command was told to look."""

import signal
import sys
from pathlib import Path

import pytest

from halter.cli import ending
from halter.cli.programs import thing_in
from halter.cli.usage import BadOptions
from halter.files.programs import NoSuchThing
from halter.task_worker import TaskWorker, WorkerNotStarted

SHOP = """
from halter.task_worker import TaskWorker
worker = TaskWorker()
@worker.task("charge-card")
def charge_card(card: str) -> str:
    return card


NUMBER = 5
"""


def found_in(target: str) -> TaskWorker:
    """What the command takes."""
    return thing_in(target, TaskWorker, "shop.tasks:worker")


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package that the present folder has, with a name of its own: Python imports a name once."""
    name = f"shop_{tmp_path.name.replace('-', '_')}"
    (tmp_path / name).mkdir()
    (tmp_path / name / "tasks.py").write_text(SHOP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(sys.path))
    return name


def test_a_module_of_the_present_folder_is_found(shop: str) -> None:
    assert isinstance(found_in(f"{shop}.tasks:worker"), TaskWorker)


def test_a_file_is_found_from_anywhere(shop: str, tmp_path: Path) -> None:
    (tmp_path / shop / "tasks.py").rename(tmp_path / shop / f"{shop}_tasks.py")
    assert isinstance(found_in(f"{tmp_path}/{shop}/{shop}_tasks.py:worker"), TaskWorker)


def test_a_file_whose_name_another_module_has_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", list(sys.path))
    (tmp_path / "queue.py").write_text(SHOP)
    with pytest.raises(NoSuchThing, match=r"expected a module in .*queue\.py, found 'queue' of .*: name the file"):
        found_in(f"{tmp_path}/queue.py:worker")


def test_sigterm_ends_the_command_until_the_task_worker_handles_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(ending, "exit_at_once", ended.append)
    before = signal.getsignal(signal.SIGTERM)
    with ending.ending_on_sigterm():
        signal.raise_signal(signal.SIGTERM)
    assert ended == [0]
    assert signal.getsignal(signal.SIGTERM) is before
    try:
        with ending.ending_on_sigterm():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as the user's module may
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("target", ["shop", "shop.tasks", ":worker", "shop:", ""])
def test_another_form_is_told(target: str) -> None:
    with pytest.raises(BadOptions, match=r"expected MODULE:NAME, as in shop\.tasks:worker, found"):
        found_in(target)


def test_a_module_that_is_not_there_is_told_with_where_was_looked(shop: str, tmp_path: Path) -> None:
    with pytest.raises(NoSuchThing) as missing:
        found_in(f"{shop}.taks:worker")
    assert str(missing.value) == (
        f"expected a module '{shop}.taks' in {tmp_path} or installed, found none: there is no '{shop}.taks'"
    )


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("worke", "expected a TaskWorker under the name 'worke' in {}.tasks, found nothing (did you mean worker?)"),
        ("charge_card", "expected a TaskWorker under the name 'charge_card' in {}.tasks, found a function (worker)"),
        ("NUMBER", "expected a TaskWorker under the name 'NUMBER' in {}.tasks, found an int (worker)"),
    ],
)
def test_another_name_is_told_with_what_is_there(shop: str, name: str, sentence: str) -> None:
    with pytest.raises(NoSuchThing) as missing:
        found_in(f"{shop}.tasks:{name}")
    assert str(missing.value) == sentence.format(shop)


def test_a_module_that_cannot_be_imported_is_told_with_the_line(shop: str, tmp_path: Path) -> None:
    file = tmp_path / shop / "broken.py"
    file.write_text("import halter\n\nnumber = 1 / 0\n")
    with pytest.raises(NoSuchThing) as broken:
        found_in(f"{shop}.broken:worker")
    assert str(broken.value) == f"cannot import '{shop}.broken': ZeroDivisionError: division by zero ({file}:3)"
    file.write_text("import not_there_at_all\n")
    with pytest.raises(NoSuchThing, match=rf"ModuleNotFoundError: No module named 'not_there_at_all' \({file}:1\)"):
        found_in(f"{shop}.broken:worker")
    file.write_text("number = (\n")
    with pytest.raises(NoSuchThing, match=rf"SyntaxError: '\(' was never closed \({file}:1\)$"):
        found_in(f"{shop}.broken:worker")
    file.write_text("raise SystemExit(0)\n")
    with pytest.raises(NoSuchThing, match=rf"SystemExit: 0 \({file}:1\)"):
        found_in(f"{shop}.broken:worker")


def test_a_handler_that_cannot_be_is_told_as_it_is(shop: str, tmp_path: Path) -> None:
    (tmp_path / shop / "odd.py").write_text(SHOP.replace("card: str", "card: set"))
    with pytest.raises(WorkerNotStarted, match=r"@task\('charge-card'\) charge_card: parameter 'card': expected str"):
        found_in(f"{shop}.odd:worker")

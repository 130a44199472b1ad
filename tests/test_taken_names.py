"""Others use the names `halter` and `processors` too: a clash is one clear sentence."""

import os
import shutil
import subprocess
import sys
import sysconfig
from importlib.metadata import distribution
from pathlib import Path

import pytest

from halter_kafka import COMMAND, DISTRIBUTION, PACKAGES

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = str(Path(sysconfig.get_path("scripts")) / "halter")
THEIRS = "print('their code ran')\n"


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """Return the folder of a project without a package."""
    folder = tmp_path / "their project"
    folder.mkdir()
    return folder


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    """Return a copy of our packages, laid out as a wheel does."""
    folder = tmp_path / "site-packages"
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "halter_kafka.py", folder)
    for name in ("schemas", "examples", "topics.yaml"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def package(folder: Path, name: str) -> Path:
    """Make another project's package, which prints a line when it is imported."""
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(THEIRS)
    return folder / name


def run(*command: str, cwd: Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    env |= {} if path is None else {"PYTHONPATH": str(path)}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=60)


def sentence(found: Path) -> str:
    name = found.stem
    return (
        f"expected Halter's package '{name}' at {ROOT / name}, found another of that name at {found}: rename that one, "
        "or keep its folder off Python's path (the command `halter` does, and `python -P`)\n"
    )


@pytest.mark.parametrize("options", [(), ("-P",)])
def test_a_package_of_theirs_in_the_working_directory_is_told_before_it_is_imported(
    theirs: Path, options: tuple[str, ...]
) -> None:
    found = package(theirs, "processors")
    answer = run(sys.executable, *options, "-m", "halter", "--version", cwd=theirs)
    if options:
        assert (answer.returncode, answer.stderr) == (0, "")
    else:
        assert (answer.returncode, answer.stdout, answer.stderr) == (1, "", f"halter: {sentence(found)}")


def test_a_module_of_theirs_is_told_as_a_package_is(theirs: Path) -> None:
    found = theirs / "processors.py"
    found.write_text(THEIRS)
    answer = run(sys.executable, "-m", "halter", "--version", cwd=theirs)
    assert (answer.returncode, answer.stdout, answer.stderr) == (1, "", f"halter: {sentence(found)}")


@pytest.mark.parametrize("name", PACKAGES)
def test_a_folder_that_is_no_package_does_no_harm(theirs: Path, name: str) -> None:
    (theirs / name).mkdir()
    (theirs / name / "notes.txt").write_text("x")
    answer = run(sys.executable, "-m", "halter", "--version", cwd=theirs)
    assert (answer.returncode, answer.stderr) == (0, "")


def test_the_command_and_the_processes_that_it_starts_do_not_look_into_the_working_directory(theirs: Path) -> None:
    for name in PACKAGES:
        package(theirs, name)
    for command in ([SCRIPT], COMMAND):
        answer = run(*command, "--version", cwd=theirs)
        assert (answer.returncode, answer.stderr) == (0, "")


@pytest.mark.parametrize("name", PACKAGES)
def test_the_command_tells_of_a_package_of_theirs_that_comes_first_on_the_path(theirs: Path, name: str) -> None:
    found = package(theirs, name)
    answer = run(SCRIPT, "--version", cwd=ROOT, path=theirs)
    assert (answer.returncode, answer.stdout, answer.stderr) == (1, "", f"halter: {sentence(found)}")


@pytest.mark.parametrize("before", ["", "import processors; "])
def test_a_program_that_has_a_package_of_its_own_is_told_by_an_import_error(theirs: Path, before: str) -> None:
    found = package(theirs, "processors")
    answer = run(sys.executable, "-c", f"{before}import halter.client.client", cwd=theirs)
    assert answer.returncode == 1
    assert answer.stderr.endswith(f"NameTaken: {sentence(found)}")
    assert answer.stdout == ("their code ran\n" if before else "")


@pytest.mark.parametrize("name", PACKAGES)
def test_a_distribution_that_wrote_over_ours_is_told(ours: Path, theirs: Path, name: str) -> None:
    assert run(sys.executable, "-m", "halter", "--help", cwd=theirs, path=ours).returncode == 0
    (ours / name / "__init__.py").write_text("")
    answer = run(SCRIPT, "--help", cwd=theirs, path=ours)
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr == (
        f"halter: expected Halter's package '{name}' at {ours / name}, found another of that name in its place: "
        "uninstall the distribution that brought it, and install halter-kafka again\n"
    )


def test_the_distribution_has_a_name_of_its_own_and_the_command_is_halter() -> None:
    [command] = [it for it in distribution(DISTRIBUTION).entry_points if it.group == "console_scripts"]
    assert (command.name, command.value) == ("halter", "halter_kafka:main")

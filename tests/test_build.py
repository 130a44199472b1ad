"""The build of a wheel: where nothing can be compiled it has the core as Python, says so, and never fails.

`make compiled` builds the compiled core and tests it (`tests/core/test_compiled.py`).
"""

import os
import subprocess
import sys
import tarfile
import tomllib
from dataclasses import MISSING, Field, fields
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from hatch_build import COMPILED, optimization, with_constructors

ROOT = Path(__file__).resolve().parent.parent
NO_COMPILER = {"CC": "/nowhere/cc"}
NEEDS = (
    "import json; from hatchling.build import get_requires_for_build_wheel as needs; print(' '.join(sorted(needs())))"
)


def build(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Build as pip does."""
    surroundings = {name: value for name, value in os.environ.items() if name not in {"CC", "HALTER_CORE"}}
    command = [sys.executable, "-m", "hatchling", "build", *options, "--directory", str(folder)]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env=surroundings | environment
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("environment", "why"),
    [
        pytest.param({"HALTER_CORE": "python"}, "HALTER_CORE=python", id="it is asked for"),
        pytest.param(NO_COMPILER, "expected the C compiler /nowhere/cc, found none", id="there is no compiler"),
        pytest.param({"CC": "false"}, "returned non-zero exit status", id="the compiler fails"),
    ],
)
def test_a_wheel_without_a_compiled_core_is_for_every_platform_and_says_why(
    tmp_path: Path, environment: dict[str, str], why: str
) -> None:
    built = build(tmp_path, "--target", "wheel", **environment)
    assert built.returncode == 0, built.stderr
    [wheel] = names(tmp_path)
    assert wheel.endswith("-py3-none-any.whl")
    [line] = [it for it in built.stderr.splitlines() if it.startswith("halter: ")]
    assert "the core stays Python" in line
    assert why in line


def test_who_publishes_gets_no_wheel_rather_than_one_with_the_core_as_python(tmp_path: Path) -> None:
    built = build(tmp_path, "--target", "wheel", HALTER_CORE="compiled", **NO_COMPILER)
    assert built.returncode != 0
    assert names(tmp_path) == []


def test_a_setting_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    built = build(tmp_path, "--target", "wheel", HALTER_CORE="fast")
    assert built.returncode != 0
    assert "HALTER_CORE: expected 'compiled', 'python' or nothing, found 'fast'" in built.stderr


@pytest.mark.parametrize(
    ("environment", "needed"),
    [
        ({"HALTER_CORE": "python"}, ""),
        (NO_COMPILER, ""),
        ({"HALTER_CORE": "compiled"} | NO_COMPILER, "mypy>=2.0 setuptools>=65"),
    ],
)
def test_the_build_asks_for_mypyc_only_where_something_is_compiled(environment: dict[str, str], needed: str) -> None:
    command = [sys.executable, "-c", NEEDS]
    asked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env=os.environ | environment)
    assert asked.stdout.strip() == needed


@pytest.mark.parametrize(
    ("flags", "level"), [("", "2"), ("-g", "2"), ("-O1", "1"), ("-O3 -g -O0", "0"), ("-Os", "2"), ("-DX=-O1", "2")]
)
def test_the_c_compiler_optimizes_as_cflags_asks(monkeypatch: pytest.MonkeyPatch, flags: str, level: str) -> None:
    monkeypatch.setenv("CFLAGS", flags)
    assert optimization() == level


def test_an_editable_installation_compiles_nothing(tmp_path: Path) -> None:
    built = build(tmp_path, "--target", "wheel:editable")
    assert built.returncode == 0, built.stderr
    assert "halter: " not in built.stderr
    [wheel] = names(tmp_path)
    assert wheel.endswith("-py3-none-any.whl")


def test_a_source_archive_has_what_builds_it(tmp_path: Path) -> None:
    built = build(tmp_path, "--target", "sdist")
    assert built.returncode == 0, built.stderr
    [path] = tmp_path.iterdir()
    with tarfile.open(path) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert {"hatch_build.py", "pyproject.toml", "processors/core/rules/engine.py", "schemas/events/Halt.avsc"} <= inside


def test_a_published_wheel_is_compiled_and_tested_with_files_that_exist() -> None:
    published = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["cibuildwheel"]
    assert published["environment"] == published["test-environment"] == {"HALTER_CORE": "compiled"}
    command = published["test-command"].split()
    tests = [word for word in command if word.startswith("tests/")]
    assert command[:3] == ["python", "-m", "pytest"]
    assert "tests/core/test_compiled.py" in tests
    assert [name for name in (*tests, *published["test-sources"]) if not (ROOT / name).exists()] == []
    assert {"processors", "halter"}.isdisjoint(published["test-sources"])


# What is compiled: the source, with constructors for mypyc.

MODULES = sorted(str(path.relative_to(ROOT)) for pattern in COMPILED for path in ROOT.glob(pattern))
WITH_RECORDS = [name for name in MODULES if with_constructors((ROOT / name).read_text()) != (ROOT / name).read_text()]


def test_hot_records_get_constructors() -> None:
    assert {f"processors/core/records/{name}.py" for name in ("commands", "events", "model")} <= set(WITH_RECORDS)


@pytest.mark.parametrize("module", MODULES)
def test_what_is_compiled_imports_what_it_names(module: str) -> None:
    # mypyc stores the class of an annotation. One that is imported for the type checker alone is not there: a crash.
    assert "TYPE_CHECKING" not in (ROOT / module).read_text()


@pytest.mark.parametrize("module", WITH_RECORDS)
def test_constructors_are_added_where_lines_are_empty(module: str) -> None:
    source = (ROOT / module).read_text()
    before, after = source.splitlines(), with_constructors(source).splitlines()
    added = [line for line in after if line not in before]
    assert added
    assert all(line.startswith(("    def __init__(self", "    def __reduce__(self")) for line in added)
    assert [new for old, new in zip(before, after, strict=False) if old] == [line for line in before if line]


@pytest.mark.parametrize("module", WITH_RECORDS)
def test_constructors_do_what_those_of_dataclasses_do(module: str) -> None:
    name = module.removesuffix(".py").replace("/", ".")
    original = import_module(name)
    space: dict[str, Any] = {"__name__": name}
    exec(compile(with_constructors((ROOT / module).read_text()), module, "exec"), space)
    mine = {
        it: made
        for it, made in space.items()
        if hasattr(made, "__dataclass_fields__") and made.__init__.__code__.co_filename == module
    }
    assert mine
    for it, made in mine.items():
        theirs = getattr(original, it)
        required = [object() for field in fields(theirs) if is_required(field)]
        assert contents(made(*required)) == contents(theirs(*required))
        named = {field.name: object() for field in fields(theirs)}
        assert contents(made(**named)) == contents(made(*named.values())) == named
        assert made(**named).__reduce__() == (made, tuple(named.values()))


def is_required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def contents(record: Any) -> dict[str, Any]:
    """Return the fields of a record. Another module's records in it are known by their names."""
    values = {it.name: getattr(record, it.name) for it in fields(record)}
    return {
        name: type(value).__name__ if type(value).__module__.startswith("processors.") else value
        for name, value in values.items()
    }

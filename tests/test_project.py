"""The rules that the repository keeps about itself."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.internal.conjecture import engine

from halter.broker.configuration import BrokerPorts, properties
from halter.broker.jars import KAFKA_VERSION
from halter.cli import COMMANDS, load
from processors.kafka.own_variables import VARIABLES
from processors.kafka.topics_file import load_topics
from tests.support.command_line import run_here, slow_imports

ROOT = Path(__file__).resolve().parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
# `datetime` reads and writes times. ruff forbids asking it for the present time (pyproject.toml).
PURE_STANDARD_LIBRARY = {
    "abc", "base64", "binascii", "bisect", "collections", "contextlib", "copy", "dataclasses", "datetime", "decimal",
    "difflib", "enum", "functools", "hashlib", "heapq", "itertools", "json", "math", "numbers", "operator", "re",
    "string", "struct", "types", "typing",
}  # fmt: skip


def files_of_the_project() -> list[Path]:
    """Return the files that git tracks or would track; without git, those of a source archive."""
    if (ROOT / ".git").exists() and shutil.which("git"):
        command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        return [ROOT / name for name in names if (ROOT / name).is_file()]
    hidden = re.compile(r"(^|/)(\.venv(-[^/]+)?|\.[a-z_]+_cache|\.hypothesis|__pycache__|dist)/")
    return [path for path in ROOT.rglob("*") if path.is_file() and not hidden.search(str(path.relative_to(ROOT)))]


@pytest.mark.parametrize(
    "name",
    [
        "README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile", "pyproject.toml", "topics.yaml",
        "docker-compose.yml", "docs/architecture.md", "docs/installing.md", "docs/releasing.md",
        "requirements/run.txt", "requirements/dev.txt",
        "requirements/build.txt", "requirements/image.txt", "docker/Dockerfile", "hatch_build.py",
        ".ci/run", "examples/cart/events.jsonl",
    ],
)  # fmt: skip
def test_what_people_look_for_is_there(name: str) -> None:
    assert (ROOT / name).is_file()


def test_ci_runs_the_test_command_of_the_readme() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert "make test" in (ROOT / ".ci" / "run").read_text()
    for document in ("README.md", "CONTRIBUTING.md"):
        assert "make test" in (ROOT / document).read_text()


def test_a_property_that_fails_says_so_within_the_time_limit_of_a_test(
    pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An example gets smaller for so long, and no longer (tests/conftest.py). Most of the limit is for finding it."""
    assert float(pytestconfig.getini("timeout")) / 4 >= engine.MAX_SHRINKING_SECONDS
    monkeypatch.setattr(engine, "MAX_SHRINKING_SECONDS", 0)
    tries = 0

    @settings(database=None)
    @given(st.lists(st.integers(), min_size=10))
    def is_wrong(numbers: list[int]) -> None:
        nonlocal tries
        tries += 1
        if sum(numbers) > 12_345:
            raise Wrong

    with pytest.raises(Wrong):
        is_wrong()
    assert tries < 40, "it went on to make the example smaller"


class Wrong(Exception):
    """A failure of a property."""


def test_the_changelog_knows_the_version() -> None:
    assert f"## {PYPROJECT['project']['version']}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize(
    ("pattern", "what"),
    [
        # Written so that this file does not match itself.
        (r"(?<![\w.~$}/])/(?:root|home|Users|wor[k])/\w", "a path of somebody's machine"),
        (r"py[p]i\.org|python[h]osted\.org|repo1?\.mave[n]\.|mave[n]2", "the address of a package registry"),
    ],
)
def test_the_tree_names_no_machine_and_no_registry(pattern: str, what: str) -> None:
    found = []
    for path in files_of_the_project():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(lines, 1):
            if re.search(pattern, line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert found == [], f"{what} in the tree"


def test_the_core_imports_itself_its_errors_and_what_is_pure_of_the_standard_library() -> None:
    """This is an allow-list. The contract of import-linter can only forbid what somebody thought of."""
    found = set()
    core = ROOT / "processors" / "core"
    for path in set(core.rglob("*.py")) - {core / "values.py"}:  # an old name, which warns
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            for name in names:
                ours = name.startswith("processors.core") or name in {"processors", "processors.core.records.errors"}
                if not ours and name.split(".")[0] not in PURE_STANDARD_LIBRARY:
                    found.add(f"{path.relative_to(ROOT)}: {name}")
    assert found == set()


# The command line.


def halter(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "halter", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | variables, timeout=60)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_that_is_listed_can_be_called(name: str) -> None:
    assert load(name).name == name
    answer = run_here(os.environ | {"COLUMNS": "200"}, name, "--help")
    assert answer.returncode == 0, answer.stderr
    assert f"halter {name}" in answer.stdout


def test_help_imports_nothing_that_is_slow_but_what_lays_it_out() -> None:
    assert slow_imports("--help") <= {"rich.console"}


def test_a_check_of_a_wf_spec_imports_nothing_that_is_slow() -> None:
    assert slow_imports("spec", "check", "examples/cart/cart.yaml") == set()


def test_an_error_is_one_sentence_on_stderr_and_exit_code_1() -> None:
    answer = halter("spec", "show", "gone.yaml")
    assert answer.returncode == 1
    assert answer.stdout == ""
    expected = "expected a WfSpec document, found no file gone.yaml: check its name and this folder"
    assert answer.stderr == f"halter: {expected}\n"


def test_the_version_is_that_of_the_project_and_says_that_a_checkout_runs_its_python_files() -> None:
    assert halter("--version").stdout == f"halter {PYPROJECT['project']['version']} (core in Python)\n"


# The wheel.


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Yield the unpacked wheel: what an installation puts into site-packages."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    environment = os.environ | {"HALTER_CORE": "python"}
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    assert built.returncode == 0, built.stderr
    [path] = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


def test_the_wheel_carries_schemas_topics_and_examples(wheel: Path) -> None:
    for name in ("topics.yaml", "schemas", "examples"):
        source, carried = ROOT / name, wheel / "processors" / "_data" / name
        sources = [source] if source.is_file() else [path for path in source.rglob("*") if path.is_file()]
        assert sources, f"{name} has no files"
        for path in sources:
            if "__pycache__" not in path.parts:
                assert (carried / path.relative_to(source)).read_bytes() == path.read_bytes()


def test_the_wheel_carries_the_code_and_nothing_but_it(wheel: Path) -> None:
    assert {path.name for path in wheel.iterdir() if not path.name.endswith(".dist-info")} == {
        "halter",
        "processors",
        "halter_kafka.py",
    }
    for name in ("halter/py.typed", "processors/py.typed", "halter/broker/kafka-jars.txt"):
        assert (wheel / name).is_file()


def test_the_wheel_has_the_scripts_and_the_style_of_the_page(wheel: Path) -> None:
    own = {it.name for it in (ROOT / "halter" / "timeline").iterdir() if it.is_file()}
    assert {Path(it).suffix for it in own} == {".py", ".js", ".css", ".html"}
    assert own <= {it.name for it in (wheel / "halter" / "timeline").iterdir()}


def test_the_wheel_finds_its_own_files(wheel: Path, tmp_path: Path) -> None:
    program = "from processors.codec.resources import resource; print(resource('topics.yaml'))"
    answer = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True, text=True, check=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(wheel)},
    )  # fmt: skip
    assert Path(answer.stdout.strip()) == wheel / "processors" / "_data" / "topics.yaml"


# Docker, as far as it can be checked without an engine.


def test_docker_compose_accepts_the_file() -> None:
    if shutil.which("docker") is None:
        pytest.skip("no docker client is installed")
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode != 0:
        pytest.skip("the docker client has no compose plugin")
    command = ["docker", "compose", "--file", str(ROOT / "docker-compose.yml"), "config", "--quiet"]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_every_service_depends_on_services_that_exist_and_on_what_they_offer() -> None:
    services = COMPOSE["services"]
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            assert other in services, f"{name} depends on {other}"
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[other], f"{name} waits for the health of {other}"


def test_every_port_is_published_on_the_loopback_address_only() -> None:
    published = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert len(published) >= 4
    assert [port for port in published if not port.startswith("127.0.0.1:")] == []
    outside = [port.split(":")[1] for port in published]
    assert len(outside) == len(set(outside))


def test_the_compose_file_runs_three_brokers_topics_once_and_two_workers() -> None:
    services = COMPOSE["services"]
    assert [name for name in services if name.startswith("kafka-") and name != "kafka-ui"] == [
        "kafka-1",
        "kafka-2",
        "kafka-3",
    ]
    ours = {name: service["command"] for name, service in services.items() if service["image"].startswith("halter:")}
    assert ours == {"topics": ["topics", "apply", "--yes"], "worker-1": ["worker"], "worker-2": ["worker"]}
    assert services["worker-1"]["image"] == f"halter:{PYPROJECT['project']['version']}"


def test_every_command_of_the_compose_file_exists_with_its_options() -> None:
    for service in COMPOSE["services"].values():
        if service["image"].startswith("halter:"):
            words = [word for word in service["command"] if not word.startswith("-")]
            answer = halter(*words, "--help", COLUMNS="200")
            assert answer.returncode == 0, answer.stderr
            for option in set(service["command"]) - set(words):
                assert option in answer.stdout


def test_every_variable_that_the_compose_file_gives_our_services_is_known() -> None:
    for service in COMPOSE["services"].values():
        if service["image"].startswith("halter:"):
            for name in service["environment"]:
                assert name in VARIABLES or name == "KAFKA_BOOTSTRAP_SERVERS"


def test_compose_and_the_embedded_broker_agree_on_release_and_settings() -> None:
    """Developers and tests meet the same Kafka, whichever they use."""
    embedded = properties(BrokerPorts(0, (1, 2, 3), (4, 5, 6)), Path("unused"))
    shared = 0
    for name in ("kafka-1", "kafka-2", "kafka-3"):
        service = COMPOSE["services"][name]
        assert service["image"] == f"apache/kafka:{KAFKA_VERSION}"
        for variable, value in service["environment"].items():
            setting = variable.removeprefix("KAFKA_").lower().replace("_", ".")
            if setting in embedded and not re.search(r"listener|node\.id|log\.dirs|voters", setting):
                assert value == embedded[setting], setting
                shared += 1
    assert shared >= 3 * 10


def test_the_brokers_of_the_compose_file_can_hold_every_topic() -> None:
    brokers = [name for name in COMPOSE["services"] if re.fullmatch(r"kafka-\d", name)]
    for topic in load_topics().all:
        assert topic.replication <= len(brokers), topic.name


def test_the_pinned_jars_are_those_of_the_release() -> None:
    from halter.broker.jars import COORDINATES, pinned_jars

    pinned = {f"{jar.group}:{jar.artifact}:{jar.version}" for jar in pinned_jars()}
    assert set(COORDINATES) <= pinned
    assert json.dumps(sorted(pinned)).count(f":{KAFKA_VERSION}") >= 10

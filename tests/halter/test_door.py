"""All that a user imports is under `halter`, loaded when it is used, typed, documented, and never from `processors`."""

import ast
import inspect
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

import halter
from halter import (
    AsyncClient,
    AsyncPosted,
    Client,
    HalterError,
    InvalidArgument,
    KafkaUnavailable,
    Posted,
    SettingsError,
    events,
)
from halter.client import NoOutcome
from processors.core.records.events import Event
from processors.kafka.own_variables import VARIABLES
from tests.support.command_line import SLOW

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
API_PAGE, SETTINGS_PAGE = DOCS / "python-api.md", DOCS / "settings.md"
TYPED_PAGES = ("README.md", "docs/python-api.md", "docs/settings.md", "docs/debugging.md")
CODE = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def imported_by(program: str) -> set[str]:
    """Return the modules that a program imports, in a process of its own."""
    command = [sys.executable, "-c", f"import sys\n{program}\nprint(*sys.modules)"]
    return set(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split())


# What is imported.


def test_import_halter_loads_nothing_of_it() -> None:
    imported = imported_by("import halter")
    assert {it for it in imported if it.startswith(("halter.", "processors."))} == set()
    assert imported.isdisjoint({"asyncio", "confluent_kafka", "difflib", "structlog"})


def test_the_client_loads_nothing_that_is_slow_and_not_the_other_one() -> None:
    imported = imported_by("from halter import Client")
    assert "halter.client.client" in imported
    assert imported.isdisjoint({"halter.client.async_client", *SLOW})


def test_every_name_is_there_and_a_type_checker_sees_the_same() -> None:
    assert all(getattr(halter, name) is not None for name in halter.__all__)
    assert set(halter.__all__) <= set(dir(halter))
    tree = ast.parse(Path(halter.__file__).read_text())
    [checked] = [it for it in tree.body if isinstance(it, ast.If) and ast.unparse(it.test) == "TYPE_CHECKING"]
    names = [alias.name for it in checked.body if isinstance(it, ast.ImportFrom) for alias in it.names]
    assert sorted(names) == sorted(halter.__all__)
    assert halter.__all__ == sorted(halter.__all__)


def test_a_name_that_is_not_there_is_an_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Cleint'"):
        _ = halter.Cleint  # type: ignore[attr-defined]


def test_every_event_is_in_halter_events() -> None:
    assert {it.__name__ for it in get_args(Event)} <= set(events.__all__)
    assert all(hasattr(events, name) for name in events.__all__)


def programs_for_users() -> list[tuple[str, str]]:
    pages = [ROOT / "README.md", *DOCS.rglob("*.md")]
    found = [(str(it.relative_to(ROOT)), code) for it in pages for code in CODE.findall(it.read_text(encoding="utf-8"))]
    return found + [(str(it.relative_to(ROOT)), it.read_text()) for it in (ROOT / "examples").rglob("*.py")]


def test_no_page_and_no_example_imports_what_is_inside() -> None:
    imports = [
        (place, line)
        for place, code in programs_for_users()
        for line in code.splitlines()
        if re.match(r"\s*(from|import)\s+(halter|processors)\b", line)
    ]
    assert len({place for place, _ in imports}) >= 4
    allowed = re.compile(
        r"(from halter import |from halter\.(commands|events|testing|workflow) import |import halter$)"
    )
    assert [it for it in imports if not allowed.match(it[1])] == []


def test_the_programs_on_the_pages_pass_a_strict_type_checker(tmp_path: Path) -> None:
    for number, (place, code) in enumerate(programs_for_users()):
        if place in TYPED_PAGES:
            (tmp_path / f"program_{number}.py").write_text(f"# {place}\n{code}", encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=300)
    assert ended.returncode == 0, ended.stdout


# What is written about it.


def test_the_page_names_everything_that_is_public() -> None:
    page = API_PAGE.read_text(encoding="utf-8")
    assert [name for name in halter.__all__ if f"`{name}`" not in page and f"`{name}(" not in page] == []
    methods = {name for name, it in vars(AsyncClient).items() if not name.startswith("_") and callable(it)}
    assert len(methods) > 15
    assert [it for it in sorted(methods - {"of", "from_env", "reach", "put", "send", "close"}) if it not in page] == []


def test_the_table_of_settings_is_that_of_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["settings_table.py", "--check"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(DOCS / "settings_table.py"), run_name="__main__")
    assert ended.value.code == 0


def test_every_variable_that_the_code_names_is_on_the_page() -> None:
    """A name in text counts: whoever reads a variable has its name there."""
    page = SETTINGS_PAGE.read_text(encoding="utf-8")
    files = [*(ROOT / "halter").rglob("*.py"), *(ROOT / "processors").rglob("*.py"), ROOT / "hatch_build.py"]
    named = {name for it in files for name in re.findall(r"\bHALTER_[A-Z_]+[A-Z]\b", it.read_text())}
    assert len(named) >= 15
    assert named <= set(VARIABLES)
    assert all(f"`{name}`" in page for name in VARIABLES)


# How it is called.


def parameters(of: Any) -> list[tuple[str, Any, Any]]:
    return [(it.name, it.kind, it.default) for it in inspect.signature(of).parameters.values()]


def public(of: type) -> set[str]:
    return {name for name, it in vars(of).items() if not name.startswith("_") and callable(it)}


ONLY_SYNC = {
    "check", "ended", "external_event_def", "poll_sent", "post_all", "prepare_to_send", "put_all", "refusals",
    "report_task", "send_soon", "skip", "until_delivered", "warn_with",
}  # fmt: skip
"""What tools and task workers need; a program that has a loop does not."""


def test_both_clients_take_the_same() -> None:
    assert public(AsyncClient) == public(Client) - ONLY_SYNC
    for name in {*public(AsyncClient), "__init__", "from_env"}:
        ours = [it for it in parameters(getattr(AsyncClient, name)) if it[0] != "threads"]
        assert ours == parameters(getattr(Client, name)), name
    for name in ("outcome", "until_ended"):
        assert parameters(getattr(AsyncPosted, name)) == parameters(getattr(Posted, name))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"bootstrap": 9092}, "bootstrap: expected the address of Kafka, such as 'localhost:9092', found int"),
        ({"prefx": "shop-"}, "expected some of .*prefix.*, found prefx"),
        ({"prefix": b"shop-"}, "prefix: expected text, found bytes"),
        ({"partitions": 0}, "partitions: expected a whole number of at least 1, found 0"),
        ({"partitions": True}, "partitions: expected a whole number of at least 1, found True"),
        ({"properties": [("a", "b")]}, "properties: expected librdkafka properties by their names, found list"),
        ({"properties": {"linger.ms": 5}}, r"properties\['linger.ms'\]: expected a value as text, found int"),
        ({"properties_file": 5}, "properties_file: expected the path of a file, found int"),
    ],
)
def test_a_client_refuses_what_is_no_connection(given: dict[str, Any], sentence: str) -> None:
    for make in (Client, AsyncClient, Client.from_env, AsyncClient.from_env):
        with pytest.raises(InvalidArgument, match=sentence):
            make(**given)


def test_a_client_reads_variables_only_where_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "variable:9092")
    monkeypatch.setenv("HALTER_PREFIX", "variable-")
    file = tmp_path / "client.properties"
    file.write_text("bootstrap.servers=file:9092\nlinger.ms=7\n")
    with Client(properties_file=str(file)) as it:
        assert (it.settings.bootstrap, it.settings.prefix) == ("file:9092", "")
        assert it.settings.properties["linger.ms"] == "7"
    with Client("code:9092", properties_file=file, properties={"bootstrap.servers": "too"}, prefix="shop-") as it:
        assert (it.settings.bootstrap, it.settings.prefix) == ("code:9092", "shop-")
        assert it.settings.sources["bootstrap.servers"] == "the program"
    with Client.from_env() as it:
        assert (it.settings.bootstrap, it.settings.prefix) == ("variable:9092", "variable-")
    with Client.from_env("code:9092", prefix="shop-") as it:
        assert (it.settings.bootstrap, it.settings.prefix) == ("code:9092", "shop-")
    with Client.from_env(env={}) as it:
        assert it.settings.bootstrap == "localhost:9092"


def test_a_property_that_breaks_a_guarantee_is_refused_with_the_reason() -> None:
    with pytest.raises(SettingsError, match=r"acks=1 from the program: Halter always uses acks=all"):
        Client(properties={"acks": "1"})


@pytest.mark.parametrize(("old", "now"), [("run_wf", "run"), ("post_external_event", "post"), ("show", "get")])
def test_the_names_of_0_2_0_work_and_warn(old: str, now: str) -> None:
    with Client("127.0.0.1:1") as client:
        with pytest.warns(DeprecationWarning, match=rf"Client\.{old} is now Client\.{now}"):
            found = getattr(client, old)
        assert found == getattr(client, now)
        with pytest.raises(AttributeError, match="'Client' object has no attribute 'rnu'"):
            client.rnu()  # type: ignore[attr-defined]


def test_every_error_has_a_word_for_programs() -> None:
    assert NoOutcome("x").code == "NO_OUTCOME"
    assert HalterError("x").code == "HALTER_ERROR"
    assert InvalidArgument("x").code == "INVALID_ARGUMENT"
    with Client("localhost:1") as client, pytest.raises(KafkaUnavailable) as silent:
        client.reach(0.1)
    assert silent.value.code == "KAFKA_UNAVAILABLE"


def test_the_version_that_removes_old_names_is_not_there_yet() -> None:
    version = re.search(r'^version = "(\d+)\.(\d+)', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert (int(version[1]), int(version[2])) < (0, 4), "halter.client.client.MOVED goes now"

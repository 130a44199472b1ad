"""The plugin for pytest: its fixtures, scenario documents as tests, and what is printed when they fail.

pytest runs in processes of its own, in folders as users have them. Each costs seconds, so few runs show much.
"""

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from halter import KafkaUnavailable
from halter.testing import KafkaInstallation, plugin
from tests.testing.running import CART, PAGE, ROOT, blocks_of_page, run_pytest

FORGOTTEN = """
import gc

from halter.testing import WorkflowEnv


def test_environments_of_tests_that_are_over_are_gone():
    gc.collect()
    assert not [it for it in gc.get_objects() if type(it) is WorkflowEnv]
"""


@pytest.fixture
def cart(tmp_path: Path) -> Path:
    """Return a folder with the example, as a user copies it."""
    return Path(shutil.copytree(CART, tmp_path / "cart", ignore=shutil.ignore_patterns("__pycache__")))


def test_the_tests_of_the_cart_and_those_of_the_page_pass(cart: Path) -> None:
    blocks = blocks_of_page()
    on_kafka = {"test_kafka.py", "conftest.py"}
    in_memory = {"test_cart.py", "test_correlated.py", "test_fakes.py", "test_time.py", "cart.scenario.yaml"}
    assert set(blocks) == in_memory | on_kafka
    for name, text in blocks.items():
        if name in on_kafka:
            continue  # tests/broker/test_testing.py runs them
        (cart / re.sub(r"cart", "page", name)).write_text(text, encoding="utf-8")
    (cart / "test_zz.py").write_text(FORGOTTEN, encoding="utf-8")
    printed = run_pytest(cart, "-v")
    assert re.search(r"\b13 passed", printed), printed
    assert "cart.scenario.yaml::scenario" in printed


def test_the_program_of_the_page_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    (program,) = re.findall(
        r"^```python\n(from halter.testing import.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    exec(program, {})
    assert capsys.readouterr().out == "EXCEPTION\n"


@pytest.mark.parametrize("written", ["abc", "-1", "0", "nan", "inf"])
def test_a_time_to_wait_that_is_none_is_told(written: str) -> None:
    config: Any = SimpleNamespace(getini=lambda _: written)
    with pytest.raises(pytest.fail.Exception, match="halter_stuck_seconds: expected a number of seconds above 0"):
        plugin._stuck_seconds(config)


FAILING = """
import asyncio

import pytest
from tasks import worker


def test_the_history_is_printed(workflow_env):
    env = workflow_env("cart.yaml", tasks=worker)
    env.run("cart", {"customer": "Ann", "card": "card-4111"}, wf_run_id="ann")
    assert env.wf_run("ann").status == "HALTED"


def test_it_runs_below_another_event_loop(workflow_env):
    async def run():
        env = workflow_env("workflow.py:workflow", tasks="tasks.py:worker")
        env.run("cart", {"customer": "Ann", "card": "card-4111"}, wf_run_id="ann")
        env.post("ann", "cancelled", "so")
        return env.attempts_of("release-stock")[0].output

    assert asyncio.run(run()) == 0


def test_a_function_is_stuck(workflow_env):
    def charge(customer: str, card: str, cents: int) -> str:
        while True:
            pass

    env = workflow_env("cart.yaml", tasks={"charge-card": charge})
    env.run("cart", {"customer": "Ann", "card": "card-4111"}, wf_run_id="ann")
    env.post("ann", "slot-chosen", "now")
    env.post("ann", "checkout")
"""


def test_a_failure_prints_the_history_and_scenarios_say_file_and_line(cart: Path) -> None:
    (cart / "test_cart.py").write_text(FAILING)
    (cart / "pytest.ini").write_text("[pytest]\nhalter_scenarios = *.story.yaml\nhalter_stuck_seconds = 0.3\n")
    scenario = (cart / "cart.scenario.yaml").read_text("utf-8")
    (cart / "a.story.yaml").write_text(scenario.replace("spec: change-address", "spec: add-item"), encoding="utf-8")
    (cart / "b.story.yaml").write_text("name: b\nstepps: []\n")
    # Also without the entry point, and in a process of pytest-xdist.
    plugins = ("-p", "halter.testing.plugin", "-p", "xdist", "-n", "1")
    printed = run_pytest(cart, *plugins, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    assert re.search(r"\b4 failed, 1 passed", printed), printed
    # The history.
    assert "halter: what happened to the WfRuns" in printed
    assert "WfRunStarted" in printed
    # A file has room: words stay whole there.
    assert max(len(line) for line in printed.splitlines() if "TaskAttemptRequested" in line) > 100
    assert "[redacted]" in printed
    assert "card-4111" not in printed.partition("halter: what happened to the WfRuns")[2].partition("____")[0]
    assert "the function of task 'charge-card': expected it to return within 0.3 s" in printed
    # The scenarios.
    line = scenario[: scenario.index("spec: change-address")].count("\n") - 2
    problem = rf"a\.story\.yaml:{line}:\d+: steps\[9\]\.expect: threads\.3\.spec: expected add-item"
    assert re.search(rf"^{problem}", printed, re.MULTILINE), printed
    assert "FAILED a.story.yaml::scenario" in printed
    assert "scenario: what the customer does while" in printed
    assert "E  SpawnChild           #3  INTERRUPT change-address" in printed
    assert "b.story.yaml:2:1: stepps: a scenario has no field stepps (did you mean steps?)" in printed


def test_the_plugin_imports_nothing_of_halter_until_it_is_used() -> None:
    program = "import sys, halter.testing.plugin; print(*sys.modules)"
    command = [sys.executable, "-c", program]
    imported = set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    ours = {it for it in imported if it.startswith(("halter.", "processors."))}
    assert ours == {"halter.testing", "halter.testing.plugin"}
    assert imported.isdisjoint({"yaml", "confluent_kafka", "fastavro", "structlog", "rich"})


def test_a_kafka_that_does_not_answer_is_told_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALTER_BOOTSTRAP", "127.0.0.1:1")
    began = time.monotonic()
    with pytest.raises(KafkaUnavailable, match=r"Kafka at 127\.0\.0\.1:1 \(from HALTER_BOOTSTRAP\) has not answered"):
        KafkaInstallation("127.0.0.1:1", tmp_path)
    assert time.monotonic() - began < 10

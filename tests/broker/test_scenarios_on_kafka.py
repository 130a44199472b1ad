"""A scenario gets the same verdict on Kafka with a real worker as in memory, and leaves nothing behind.

`halter scenario run --bootstrap` runs every document of tests/scenarios. The ones here need most of it: timers,
crashes, retries, limits, task queues, refusals, hundreds of rounds.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from halter.scenarios.files import in_memory, read_file, run_file
from halter.scenarios.kafka.judge import KafkaJudge, workers_needed
from processors.kafka.settings import Settings
from tests.support.halter_processes import ROOT
from tests.support.waiting import wait_until

SCENARIOS = ROOT / "tests" / "scenarios"
SAMPLES = sorted(SCENARIOS.glob("0*.yaml"))
CHOSEN = [
    SCENARIOS / f"{name}.yaml"
    for name in (
        "E03-an-event-before-its-WfRun",
        "E07-sleep-until",
        "F29-back-off",
        "K04-an-event-by-key-goes-to-all-that-have-it",
        "N12-an-interrupt-shorter-than-the-back-off-changes-nothing",
        "X13-replay-with-a-task-out-and-an-interrupt-pending",
        "N18-codes-of-rejections",
        "S1.2-TASK",
        "S2.6-a-second-start-of-an-attempt-prolongs-nothing",
        "S2.6-progress-goes-to-the-next-attempt",
        "S7-timers-that-are-due-together",
        "V15-a-deleted-WfRun-leaves-nothing",
        "V20-versions-of-a-WfSpec",
        "V20-a-live-WfRun-keeps-the-revision-that-its-WfSpec-binds",
        "V20-a-WfSpec-put-again-binds-the-newest-revision",
        "X15-an-interrupt-at-the-thread-cap",
    )
]
REFUSED = min(SCENARIOS.glob("V24-*.yaml"))
DOCUMENTS = [*SAMPLES, *CHOSEN, REFUSED]

CART = """
name: {name}
external_events: {{add: {{type: INT}}, checkout: {{}}}}
tasks: {{charge: {{}}}}
wf_specs:
  - name: cart
    entrypoint: main
    threads:
      main:
        variables: {{total: {{type: INT, default: 0}}}}
        interrupts: [{{event: add, handler: on-add}}]
        nodes:
          start: {{kind: ENTRYPOINT, next: wait}}
          wait: {{kind: EXTERNAL_EVENT, event: checkout, timeout_s: 60, next: pay}}
          pay: {{kind: TASK, task: charge, timeout_s: 30, retries: 1, next: done}}
          done: {{kind: EXIT}}
      on-add:
        variables: {{INPUT: {{type: INT}}}}
        nodes:
          start: {{kind: ENTRYPOINT, next: {{to: done, set: [{{var: total, op: ADD, value: {{var: INPUT}}}}]}}}}
          done: {{kind: EXIT}}
steps:
"""
STATE_IS_ANOTHER = """
  - run: {id: w1, spec: cart}
  - event: {wf: w1, name: add, id: e1, content: 3}
  - clock: +61s
  - expect: {wf: w1, status: COMPLETED, variables: {0: {total: 4}}}
"""
EVENTS_ARE_OTHERS = """
  - run: {id: w1, spec: cart}
  - event: {wf: w1, name: checkout, id: e1}
  - clock: +31s
  - expect_events: [TaskAttemptEnded, Resume]
"""
REFUSED_AMONG_MANY = """
  - run: {id: w1, spec: cart}
  - repeat:
      times: 5
      steps:
        - event: {wf: w1, name: add, id: "{n}", content: 1}
        - event: {wf: w1, name: add, id: "3", content: 1}
  - event: {wf: w1, name: checkout, id: e1}
"""
REFUSED_AT_THE_END = """
  - run: {id: w1, spec: cart}
  - stop: {wf: w1, thread: 7}
"""
ROUNDS = 500
MANY_ROUNDS = f"""
  - run: {{id: w1, spec: cart}}
  - repeat:
      times: {ROUNDS}
      steps:
        - event: {{wf: w1, name: add, id: "{{n}}", content: 1}}
  - crash: {{}}
  - expect: {{wf: w1, variables: {{0: {{total: {ROUNDS}}}}}, thread_count: 1}}
"""


@pytest.fixture(scope="module")
def judge(bootstrap: str) -> Iterator[KafkaJudge]:
    """Yield one judge for all scenarios, as one call of the command has."""
    settings = Settings.load(None, {}, {"bootstrap.servers": bootstrap}, prefix="test-")
    scenarios = [read.scenario for read in map(read_file, DOCUMENTS) if read.scenario is not None]
    with KafkaJudge(settings, sum(map(workers_needed, scenarios)) + 6) as it:
        yield it


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_a_scenario_has_the_same_verdict_on_kafka(judge: KafkaJudge, document: Path) -> None:
    verdict = run_file(document, judge)
    assert verdict == run_file(document, in_memory), "\n".join(verdict.log)
    assert verdict.ok


@pytest.mark.parametrize("steps", [STATE_IS_ANOTHER, EVENTS_ARE_OTHERS, REFUSED_AMONG_MANY, REFUSED_AT_THE_END])
def test_what_fails_fails_on_kafka_with_the_same_sentence_and_log(
    judge: KafkaJudge, tmp_path: Path, steps: str
) -> None:
    document = tmp_path / "failing.yaml"
    document.write_text(CART.format(name="fails") + steps)
    verdict = run_file(document, judge)
    assert not verdict.ok
    assert verdict == run_file(document, in_memory)


def test_hundreds_of_rounds_are_folded_by_one_worker(judge: KafkaJudge, tmp_path: Path) -> None:
    document = tmp_path / "rounds.yaml"
    document.write_text(CART.format(name="many rounds") + MANY_ROUNDS)
    verdict = run_file(document, judge)
    assert verdict.ok, verdict.problems


def left_behind(bootstrap: str, prefix: str) -> list[str]:
    """Return the topics and groups of a prefix."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    groups = [group.group_id for group in admin.list_consumer_groups().result().valid]
    return [name for name in (*admin.list_topics(timeout=10).topics, *groups) if name.startswith(prefix)]


def wait_until_nothing_is_left(bootstrap: str, prefix: str) -> None:
    """The controller has removed the topics when the command ends, and each broker hears of it a little later."""
    wait_until("no topic and no group", lambda: not left_behind(bootstrap, prefix), 10)


def command(bootstrap: str, prefix: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "halter", "scenario", "run", "--bootstrap", bootstrap, "--prefix", prefix, *arguments],
        env={name: value for name, value in os.environ.items() if not name.startswith(("KAFKA_", "HALTER_"))},
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_command_prints_what_it_prints_in_memory_and_leaves_nothing_behind(
    bootstrap: str, prefix: str, tmp_path: Path
) -> None:
    failing = tmp_path / "failing.yaml"
    failing.write_text(CART.format(name="fails") + STATE_IS_ANOTHER)
    unreadable = tmp_path / "unreadable.yaml"
    unreadable.write_text("name: it has no steps")
    documents = [failing, unreadable, SAMPLES[0]]
    process = command(bootstrap, prefix, *map(str, documents), "--json")
    output, errors = process.communicate(timeout=90)
    assert process.returncode == 1, errors
    in_memory_too = [verdict.ok for verdict in map(run_file, documents)]
    assert [verdict["ok"] for verdict in json.loads(output)] == in_memory_too == [False, False, True]
    wait_until_nothing_is_left(bootstrap, prefix)


def test_ctrl_c_removes_everything(bootstrap: str, prefix: str) -> None:
    process = command(bootstrap, prefix, *map(str, SAMPLES * 5))
    wait_until("topics of a scenario", lambda: left_behind(bootstrap, prefix), 60)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "Traceback" not in errors
    wait_until_nothing_is_left(bootstrap, prefix)

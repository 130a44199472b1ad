"""`halter up` keeps its parts running, says how they are in one line, and leaves nothing behind."""

import io
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from halter.cli.another_terminal import exports
from halter.cli.connection import Kafka
from halter.cli.up import environment, parts_left_out
from halter.cli.usage import BadOptions
from halter.processes.actor import ProcessEnded
from halter.processes.restarting import RestartPolicy
from halter.up.folder import Folder, FolderInUse, FolderUnfit
from halter.up.parts import Part
from halter.up.status import StatusLine, lasted
from halter.up.tree import Tree
from tests.support.waiting import wait_until

AT_ONCE = RestartPolicy(first_wait=0.0, wait_max=0.0, deaths_max=3)
LIVES = """
import json, pathlib, signal, sys
file = pathlib.Path(sys.argv[-1])
ended = file.with_name("ended")
signal.signal(signal.SIGTERM, lambda *_: (ended.open("a").write(file.stem + " "), sys.exit(0)))
file.with_suffix(".new").write_text(json.dumps({"shards": [0, 1]}))
file.with_suffix(".new").replace(file)
signal.pause()
"""
DIES = "import sys; print('no room on the disk'); sys.exit(3)"


class Said(list[str]):
    """The sentences that were said."""

    def __call__(self, sentence: str) -> None:
        self.append(sentence)


@pytest.fixture
def said() -> Said:
    return Said()


@pytest.fixture
def tree(tmp_path: Path, said: Said) -> Iterator[Tree]:
    it = Tree(tmp_path, dict(os.environ), said, AT_ONCE)
    yield it
    it.stop()


def part(name: str, program: str = LIVES) -> Part:
    return Part(name, [sys.executable, "-c", program], ready_s=20)


def test_parts_are_ended_together_and_the_broker_last(tree: Tree, tmp_path: Path) -> None:
    for name in ("broker", "worker", "view"):
        tree.start(part(name))
    for name in ("broker", "worker", "view"):
        tree.wait_ready(name)
    assert tree.states == {"broker": "ok", "worker": "ok, 2 partitions", "view": "ok"}
    tree.stop()
    ended = (tmp_path / "ended").read_text().split()
    assert (sorted(ended), ended[-1]) == (["broker", "view", "worker"], "broker")


def test_a_part_that_is_killed_is_started_again(tree: Tree, said: Said) -> None:
    tree.start(part("worker"))
    first = tree.wait_ready("worker")
    tree.kept("worker").actor.kill()

    def is_another() -> bool:
        tree.look()
        return tree.states == {"worker": "ok, 2 partitions"} and tree.kept("worker").actor.is_running

    wait_until("another one", is_another, 20)
    assert first == {"shards": [0, 1]}
    assert said[0].startswith("the worker was killed by SIGKILL, and starts again in 0 s; its log: ")


def test_a_part_that_keeps_ending_is_given_up_with_what_its_log_says(tree: Tree) -> None:
    tree.start(part("worker", DIES))

    def look() -> None:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            tree.look()

    with pytest.raises(ProcessEnded, match=r"exit code 3, 3 times in a row(.|\n)*no room on the disk"):
        look()


def test_a_program_of_the_user_is_started_until_it_runs_and_says_once_what_is_wrong(
    tree: Tree, said: Said, tmp_path: Path
) -> None:
    file = tmp_path / "registered"
    wrong = "print('a line'); print('halter: no pack,\\nno ship'); sys.exit(1)"
    until = f"import pathlib\nif not pathlib.Path({str(file)!r}).exists(): {wrong}"
    tree.start(Part("task-worker", [sys.executable, "-c", f"import sys\n{until}\n{LIVES}"], ready_s=20, is_yours=True))
    kept = tree.kept("task-worker")
    wait_until(
        "it has ended more often than others may", lambda: [tree.look(), kept.deaths][1] > AT_ONCE.deaths_max, 20
    )
    [sentence] = said
    assert sentence.startswith(
        "the task-worker ended with exit code 1, and starts again until it goes on running; its log: "
    )
    assert sentence.endswith(":\n  | no pack,\n  | no ship")
    file.touch()
    wait_until("it runs", lambda: [tree.look(), tree.states][1] == {"task-worker": "ok"}, 20)


def test_a_program_of_the_user_that_has_a_mistake_from_the_start_ends_no_other_part(tree: Tree, said: Said) -> None:
    mistaken = "import sys; print('halter: there is no module'); sys.exit(1)"
    tree.start(Part("task-worker", [sys.executable, "-c", mistaken], ready_s=20, is_yours=True))
    tree.start(part("worker"))
    tree.kept("task-worker").actor.process.wait()
    tree.wait_all_ready(["worker", "task-worker"], lambda: None)
    tree.look()
    assert tree.states == {"task-worker": "ended, starts again", "worker": "ok, 2 partitions"}
    assert said[0].endswith(":\n  | there is no module")


def test_what_an_earlier_run_has_logged_is_not_told_again(tree: Tree, tmp_path: Path, said: Said) -> None:
    (tmp_path / "worker.log").write_text("halter: an old sentence\n")
    tree.start(part("worker", "print('halter: a new one'); raise SystemExit(1)"))
    with pytest.raises(ProcessEnded, match="see above"):
        tree.wait_ready("worker")
    assert said == ["a new one"]


def test_two_do_not_use_one_folder(tmp_path: Path) -> None:
    with Folder(tmp_path / "data") as folder:
        folder.says("Kafka at 127.0.0.1:9092")
        with pytest.raises(FolderInUse, match=rf"\(process {os.getpid()}, Kafka at 127.0.0.1:9092\): use it"):
            Folder(tmp_path / "data").__enter__()
    with Folder(tmp_path / "data"):
        pass  # the lock goes with its owner
    (tmp_path / "file").touch()
    with pytest.raises(FolderUnfit, match="name another folder with --data"):
        Folder(tmp_path / "file").__enter__()


def test_the_line_is_written_in_its_place_on_a_terminal_and_when_it_changes_elsewhere() -> None:
    now, width, stream = [0.0], [40], io.StringIO()
    line = StatusLine(stream, lambda: width[0] or None, lambda: now[0])
    line.show({"broker": "ok", "worker": "starting"})
    line.show({"broker": "ok", "worker": "starting"})
    now[0] = 61
    line.show({"broker": "ok", "worker": "ok, 8 partitions, and more"})
    line.say("a sentence")
    shown = stream.getvalue().split("\r\033[2K")
    assert shown == [
        "",
        "broker ok · worker starting · 0 s",
        "broker ok · worker ok, 8 partitions, a…",
        "halter: a sentence\n",
    ]
    width[0], before = 0, stream.tell()
    for state in ("starting", "ok", "ok"):
        line.show({"worker": state})
    assert stream.getvalue()[before:] == "worker starting\nworker ok\n"
    assert [lasted(it) for it in (59, 61, 3_700, 90_000)] == ["59 s", "1 min 1 s", "1 h 1 min", "1 d 1 h"]


def test_whoever_names_a_kafka_gets_no_other_one() -> None:
    assert parts_left_out(["topics"], Kafka(bootstrap="kafka:9092")) == {"broker", "topics"}
    assert parts_left_out([], Kafka()) == set()
    with pytest.raises(
        BadOptions, match=r"--without: expected one of broker, .*found 'brokr' \(did you mean broker\?\)"
    ):
        parts_left_out(["brokr"], Kafka())


def test_variables_for_another_kafka_do_not_reach_the_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"KAFKA_SASL_PASSWORD": "x", "HALTER_PREFIX": "p-", "HALTER_HEALTH_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    own, other = environment(own_kafka=True), environment(own_kafka=False)
    assert ("KAFKA_SASL_PASSWORD" in own, "HALTER_PREFIX" in own, "HALTER_HEALTH_PORT" in own) == (False, True, False)
    assert ("KAFKA_SASL_PASSWORD" in other, "HALTER_HEALTH_PORT" in other) == (True, False)


def test_another_terminal_finds_the_halter_that_runs_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "own" / "bin"
    own.mkdir(parents=True)
    for name in ("halter", "python"):
        (own / name).touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(own / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert exports({"HALTER_PREFIX": "p-", "HALTER_VIEW": ""}) == f'export HALTER_PREFIX=p- PATH="{own}:$PATH"'
    monkeypatch.setenv("PATH", str(own))
    assert exports({"HALTER_PREFIX": "p-", "HALTER_PARTITIONS": 3}) == "export HALTER_PREFIX=p- HALTER_PARTITIONS=3"
    assert exports({"HALTER_VIEW": None}) == ""

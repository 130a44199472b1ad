"""The embedded broker is a real Kafka that keeps what it acknowledged, and says clearly why it cannot start."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from halter.broker import EmbeddedBroker
from halter.broker.cluster import is_free
from halter.broker.configuration import HOST
from halter.broker.errors import DataFolderInUse, DataFolderUnfit, JarsMissing, PortTaken
from halter.broker.jars import kafka_jars, maven_repository, mirror_of_central, pinned_jars
from halter.broker.node import Node, loud_lines
from tests.support.ports import free_port

DEADLINE_SECONDS = 60


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited {DEADLINE_SECONDS} s in vain for {what}"
        threading.Event().wait(0.02)


def create_topic(bootstrap: str, topic: str, replication: int = 1) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    [created] = admin.create_topics([NewTopic(topic, 1, replication)]).values()
    created.result(DEADLINE_SECONDS)


def produce(bootstrap: str, topic: str, values: list[bytes]) -> None:
    """Produce with acks=all, and return when every record is acknowledged."""
    outcomes: list[object] = []
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})
    for value in values:
        producer.produce(topic, value, on_delivery=lambda error, _: outcomes.append(error))
    assert producer.flush(DEADLINE_SECONDS) == 0
    assert outcomes == [None] * len(values)


def consume(bootstrap: str, topic: str, count: int) -> list[bytes]:
    """Return the first committed records of a topic; fewer if the deadline comes first."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "none", "isolation.level": "read_committed"})
    # Assigned, not subscribed: these tests are not about groups, and a group takes seconds to form.
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    values: list[bytes] = []
    deadline = time.monotonic() + DEADLINE_SECONDS
    try:
        while len(values) < count and time.monotonic() < deadline:
            record = consumer.poll(0.5)
            if record is not None and record.error() is None:
                value = record.value()
                assert value is not None
                values.append(value)
    finally:
        consumer.close()
    return values


def test_what_is_produced_is_consumed(bootstrap: str, prefix: str) -> None:
    create_topic(bootstrap, f"{prefix}records")
    produce(bootstrap, f"{prefix}records", [b"1", b"2", b"3"])
    assert consume(bootstrap, f"{prefix}records", 3) == [b"1", b"2", b"3"]


def test_a_committed_transaction_is_seen_and_an_aborted_one_is_not(bootstrap: str, prefix: str) -> None:
    topic = f"{prefix}transactions"
    create_topic(bootstrap, topic)
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": f"{prefix}producer"})
    producer.init_transactions(DEADLINE_SECONDS)
    for value, finish in ((b"aborted", producer.abort_transaction), (b"committed", producer.commit_transaction)):
        producer.begin_transaction()
        producer.produce(topic, value)
        producer.flush(DEADLINE_SECONDS)
        finish(DEADLINE_SECONDS)
    assert consume(bootstrap, topic, 1) == [b"committed"]


def test_no_topic_comes_into_being_by_being_named(bootstrap: str, prefix: str) -> None:
    failures: list[object] = []
    producer = Producer({"bootstrap.servers": bootstrap, "message.timeout.ms": 2_000})
    producer.produce(f"{prefix}typo", b"x", on_delivery=lambda error, _: failures.append(error))
    producer.flush(DEADLINE_SECONDS)
    assert len(failures) == 1
    assert failures[0] is not None


@pytest.mark.docker
def test_kafka_in_docker_does_the_same(docker_bootstrap: str, prefix: str) -> None:
    create_topic(docker_bootstrap, f"{prefix}records")
    produce(docker_bootstrap, f"{prefix}records", [b"1"])
    assert consume(docker_bootstrap, f"{prefix}records", 1) == [b"1"]


@contextmanager
def halter_broker(data: Path, ready_file: Path, port: int, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run `halter broker` in a process of its own until it is ready. Its output is beside its ready file."""
    command = [sys.executable, "-m", "halter", "broker", "--data", str(data), "--port", str(port)]
    with said_beside(ready_file).open("w") as said:
        process = subprocess.Popen([*command, "--ready-file", str(ready_file), *more], stderr=said)
    try:
        wait_until(lambda: ready_file.exists() or process.poll() is not None, "the ready file")
        assert process.poll() is None
        yield process
    finally:
        process.terminate()
        process.wait(DEADLINE_SECONDS)


def said_beside(ready_file: Path) -> Path:
    return ready_file.with_suffix(".err")


def java_of(ready_file: Path) -> list[int]:
    pids: list[int] = json.loads(ready_file.read_text())["broker_pids"]
    return pids


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A killed child that nobody has waited for still has a process id.
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return bool(state.stdout.strip()) and not state.stdout.strip().startswith("Z")


def test_kill_9_of_the_command_ends_java_and_keeps_every_acknowledged_record(tmp_path: Path) -> None:
    data, ready_file, port = tmp_path / "data", tmp_path / "ready.json", free_port()
    with halter_broker(data, ready_file, port) as process:
        ready = json.loads(ready_file.read_text())
        assert ready["bootstrap"] == f"{HOST}:{port}"
        create_topic(ready["bootstrap"], "kept")
        produce(ready["bootstrap"], "kept", [b"1", b"2"])

        # The folder is taken, and the second process is told by which one.
        with pytest.raises(DataFolderInUse, match=f"process {process.pid} "):
            EmbeddedBroker(data).start()

        # A single broker is started again too, and ends with the command like the first.
        [java] = ready["broker_pids"]
        os.kill(java, signal.SIGKILL)
        wait_until(lambda: java_of(ready_file) != [java], "another Java")
        wait_until(lambda: "Kafka broker 0 is back" in said_beside(ready_file).read_text(), "the broker's return")
        assert consume(ready["bootstrap"], "kept", 2) == [b"1", b"2"]
        [java] = java_of(ready_file)
        process.kill()
        wait_until(lambda: not is_alive(java), "the end of Java")
    ready_file.unlink()

    with halter_broker(data, ready_file, port) as process:
        assert consume(f"{HOST}:{port}", "kept", 2) == [b"1", b"2"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_SECONDS) == 0
        assert not ready_file.exists()


def test_three_brokers_keep_working_without_one_and_take_it_back(tmp_path: Path) -> None:
    with EmbeddedBroker(tmp_path, brokers=3) as kafka:
        assert len(kafka.bootstrap.split(",")) == 3
        create_topic(kafka.bootstrap, "replicated", replication=3)
        produce(kafka.bootstrap, "replicated", [b"three"])
        kafka.kill(0)
        assert kafka.failure_of(0).startswith("Kafka broker 0 was killed by SIGKILL")
        produce(kafka.bootstrap, "replicated", [b"two"])
        kafka.restart(0)
        assert [kafka.is_running(index) for index in range(3)] == [True, True, True]
        assert consume(kafka.bootstrap, "replicated", 2) == [b"three", b"two"]
    with pytest.raises(DataFolderUnfit, match=r"expected the data of 1 broker\(s\) in .*, found that of 3"):
        EmbeddedBroker(tmp_path).start()


def test_of_three_brokers_the_one_that_ends_is_started_again_and_the_others_go_on(tmp_path: Path) -> None:
    ready_file, port = tmp_path / "ready.json", choose_ports_in_a_row(3)
    with halter_broker(tmp_path / "data", ready_file, port, "--brokers", "3") as process:
        bootstrap = json.loads(ready_file.read_text())["bootstrap"]
        first = java_of(ready_file)
        create_topic(bootstrap, "replicated", replication=3)

        def ends_and_returns(*indices: int) -> None:
            before, said = java_of(ready_file), said_beside(ready_file).read_text()
            for index in indices:
                os.kill(before[index], signal.SIGKILL)
            if len(indices) == 1:
                produce(bootstrap, "replicated", [b"x"])
            for index in indices:
                back = f"Kafka broker {index} is back"
                wait_until(lambda back=back: back in said_beside(ready_file).read_text()[len(said) :], back)
            after = java_of(ready_file)
            assert [old != new for old, new in zip(before, after, strict=True)] == [it in indices for it in range(3)]

        ends_and_returns(1)
        assert "the others go on" in said_beside(ready_file).read_text()
        ends_and_returns(0, 2)
        assert "nothing can be written until two run" in said_beside(ready_file).read_text()
        produce(bootstrap, "replicated", [b"y"])
        assert consume(bootstrap, "replicated", 2) == [b"x", b"y"]
        assert not any(map(is_alive, first))

        # A stop while one of them waits for its next start.
        last = java_of(ready_file)
        os.kill(last[0], signal.SIGKILL)
        wait_until(lambda: said_beside(ready_file).read_text().count("is started again") == 4, "word of its end")
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_SECONDS) == 0
        assert not any(map(is_alive, last))
        assert not ready_file.exists()


def test_a_broker_that_keeps_ending_is_given_up_with_what_its_log_says(tmp_path: Path) -> None:
    data, ready_file = tmp_path / "data", tmp_path / "ready.json"
    with halter_broker(data, ready_file, free_port()) as process:
        (data / "broker-0.properties").write_text("node.id=none")
        os.kill(java_of(ready_file)[0], signal.SIGKILL)
        assert process.wait(2 * DEADLINE_SECONDS) == 1
    said = said_beside(ready_file).read_text()
    assert [f"again in {seconds} s" in said for seconds in (1, 2, 4, 8, 15)] == [True, True, True, True, False]
    assert "halter: Kafka broker 0 is given up: it ended 5 times in a row" in said
    why = loud_lines((data / "broker-0.log").read_text())
    assert "Exception: " in why
    assert why in said.partition("is given up")[2]


def choose_ports_in_a_row(count: int) -> int:
    """Return the first of some consecutive free ports."""
    while True:
        port = free_port()
        if port + count < 65_536 and all(map(is_free, range(port, port + count))):
            return port


def test_a_taken_port_is_explained_before_java_starts(tmp_path: Path) -> None:
    with socket.create_server((HOST, 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortTaken, match=f"another process listens on {HOST}:{port}"):
            EmbeddedBroker(tmp_path, port=port).start()
    assert not (tmp_path / "broker-0.log").exists()


class Robbed(Node):
    """A broker whose port another process takes between our check and its start, the first time."""

    robber: ClassVar[socket.socket | None] = None

    def start(self) -> None:
        if Robbed.robber is None:
            Robbed.robber = socket.create_server((HOST, self.port))
        super().start()


def test_a_port_lost_at_the_last_moment_is_replaced_by_another(tmp_path: Path) -> None:
    class Unlucky(EmbeddedBroker):
        node_class = Robbed

    try:
        with Unlucky(tmp_path) as cluster:
            assert Robbed.robber is not None
            assert cluster.bootstrap != f"{HOST}:{Robbed.robber.getsockname()[1]}"
            create_topic(cluster.bootstrap, "reached")
    finally:
        if Robbed.robber is not None:
            Robbed.robber.close()


class MavenRepository(SimpleHTTPRequestHandler):
    """A Maven repository in one folder that notes the files it is asked for."""

    def __init__(self, requests: list[str], *args: object, **settings: object) -> None:
        self.requests = requests
        super().__init__(*args, **settings)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        self.requests.append(self.path.rsplit("/", 1)[-1])
        super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[tuple[str, list[str], Path]]:
    """A mirror of Kafka's jars: its URL, the files asked for so far, its folder."""
    root = tmp_path / "mirror"
    for jar, path in zip(pinned_jars(), kafka_jars(report=print), strict=True):
        place = root / jar.group.replace(".", "/") / jar.artifact / jar.version
        place.mkdir(parents=True)
        (place / jar.file_name).symlink_to(path)
    requests: list[str] = []
    server = ThreadingHTTPServer((HOST, 0), partial(MavenRepository, requests, directory=str(root)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://{HOST}:{server.server_port}/", requests, root
    server.shutdown()
    server.server_close()


def test_two_downloads_at_once_fetch_every_jar_once(mirror: tuple[str, list[str], Path], tmp_path: Path) -> None:
    url, requests, _ = mirror
    command = [sys.executable, "-m", "halter", "broker", "--download-only"]
    variables = os.environ | {"HALTER_MAVEN_REPOSITORY": url, "HALTER_CACHE": str(tmp_path / "cache")}
    both = [subprocess.Popen(command, env=variables, stderr=subprocess.PIPE) for _ in range(2)]
    outputs = [process.communicate(timeout=DEADLINE_SECONDS)[1].decode() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    expected = Counter(jar.file_name for jar in pinned_jars())
    assert Counter(name for name in requests if name.endswith(".jar")) == expected
    assert any("46 jars, 45 MB" in output for output in outputs)


def test_an_interrupted_download_is_repaired_by_fetching_what_is_missing(
    mirror: tuple[str, list[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, requests, _ = mirror
    monkeypatch.setenv("HALTER_MAVEN_REPOSITORY", url)
    monkeypatch.setenv("HALTER_CACHE", str(tmp_path / "cache"))
    whole = kafka_jars(report=print)
    whole[0].unlink()
    whole[1].write_bytes(whole[1].read_bytes()[:1000])
    requests.clear()
    assert kafka_jars(report=print) == whole
    assert {name for name in requests if name.endswith(".jar")} == {whole[0].name, whole[1].name}


def test_a_jar_that_is_not_the_pinned_one_is_refused(
    mirror: tuple[str, list[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, _, root = mirror
    monkeypatch.setenv("HALTER_MAVEN_REPOSITORY", url)
    monkeypatch.setenv("HALTER_CACHE", str(tmp_path / "cache"))
    jar = min(pinned_jars(), key=lambda jar: jar.size)
    [served] = root.rglob(jar.file_name)
    served.unlink()
    served.write_bytes(b"x" * jar.size)
    with pytest.raises(JarsMissing, match=f"expected a file with SHA-256 {jar.sha256}"):
        kafka_jars(report=print)


def test_missing_jars_are_explained_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALTER_MAVEN_REPOSITORY", f"http://{HOST}:{free_port()}")
    monkeypatch.setenv("HALTER_CACHE", str(tmp_path / "cache"))
    with pytest.raises(JarsMissing, match=r"46 of Kafka's jars are still missing in .*HALTER_MAVEN_REPOSITORY=URL"):
        EmbeddedBroker(tmp_path / "data", report=print).start()


@pytest.mark.parametrize(
    ("mirrors", "expected"),
    [
        ("", None),
        ("<mirror><mirrorOf>*</mirrorOf><url>http://all</url></mirror>", "http://all"),
        ("<mirror><mirrorOf>external:*</mirrorOf><url>http://all</url></mirror>", "http://all"),
        ("<mirror><mirrorOf>other</mirrorOf><url>http://other</url></mirror>", None),
        ("<mirror><mirrorOf>*,!central</mirrorOf><url>http://others</url></mirror>", None),
        (
            """<mirror><mirrorOf>*</mirrorOf><url>http://all</url></mirror>
            <mirror><mirrorOf>other, central</mirrorOf><url>http://${env.MIRROR_HOST}/central</url></mirror>""",
            "http://here/central",
        ),
    ],
)
def test_the_mirror_of_the_users_maven_settings_is_respected(
    mirrors: str, expected: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIRROR_HOST", "here")
    for namespace in ("", ' xmlns="http://maven.apache.org/SETTINGS/1.0.0"'):
        settings = tmp_path / ".m2" / "settings.xml"
        settings.parent.mkdir(exist_ok=True)
        settings.write_text(f"<settings{namespace}><mirrors>{mirrors}</mirrors></settings>")
        assert mirror_of_central(settings) == expected
    if expected is not None:
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.delenv("HALTER_MAVEN_REPOSITORY", raising=False)
        assert maven_repository() == expected
        monkeypatch.setenv("HALTER_MAVEN_REPOSITORY", "http://named/")
        assert maven_repository() == "http://named"

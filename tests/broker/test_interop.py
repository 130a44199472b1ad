"""Programs that are not Halter's: a Faust application, and programs in other languages, on a real Kafka."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner

from halter import Client, LogEntry
from halter.broker.jars import cache_folder, download, pinned_jars, sole_downloader
from halter.cli.schemas import app as schemas_command
from halter.events import ExternalEventPosted, ThreadHalted
from processors.core.records.events import Cause
from processors.kafka.partitioner import partition_of
from tests.support.halter_processes import NOTHING, ROOT, Halter, halter_with_the_cart
from tests.support.waiting import wait_until

EXAMPLES = ROOT / "examples"
PLAIN = EXAMPLES / "plain"
JARS = PLAIN / "java" / "jars.txt"
GO = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false", "GOTOOLCHAIN": "local"}
HALTS_MAX = 20
"""As in examples/faust/cart_watch.py."""
CUSTOMER = {"customer": "Ann", "card": "card-12345678"}


@pytest.fixture(scope="module")
def halter(bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Halter]:
    with halter_with_the_cart(bootstrap, tmp_path_factory.mktemp("interop")) as installation:
        with installation.client() as client:
            client.definitions()
            client.run("cart", CUSTOMER, wait=True)  # from here on, the worker knows the cart
        yield installation


@contextmanager
def faust(halter: Halter, folder: Path) -> Iterator[Path]:
    """Run the Faust application of the example as its page says, and yield its log."""
    log = folder / "faust.log"
    command = [sys.executable, "-m", "faust", "-A", "cart_watch", "worker", "--without-web", "-l", "info"]
    environment = {**halter.environment, "PYTHONPATH": str(EXAMPLES / "faust")}
    with log.open("wb") as said:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=said, stderr=said)
    try:
        yield log
    finally:
        process.terminate()
        process.wait(30)


def write_and_take_back(halter: Halter, wf_run_id: str) -> None:
    """Write a log on which a cart is halted often, as a worker would whose transaction is aborted."""
    codec, key = halter.settings.codec(), wf_run_id.encode()
    producer = Producer(halter.settings.producer(transactional_id=f"{halter.topics.prefix}aborts", linger_ms=0))
    producer.init_transactions(20)
    producer.begin_transaction()
    cause = Cause(topic="external-events", partition=0, offset=0, command_id=None, definitions_position=0)
    for seq in range(1, HALTS_MAX + 1):
        entry = LogEntry(wf_run_id, 0, seq, 0, cause, ThreadHalted(0))
        partition = partition_of(key, halter.topics.partitions)
        producer.produce(halter.topics.wf_events, codec.encode(entry), key, partition)
    producer.flush(20)
    producer.abort_transaction(20)


def posted_to(client: Client, wf_run_id: str) -> list[tuple[str, str]]:
    entries = client.history(wf_run_id).entries
    posted = [it.event for it in entries if isinstance(it.event, ExternalEventPosted)]
    return [(it.external_event_def, it.external_event_id) for it in posted]


def halt(client: Client, cart: str) -> None:
    for page in range(HALTS_MAX):
        client.post(cart, "page-seen", f"/{page}", wait=True)


def test_a_faust_application_counts_committed_halts_and_posts_an_external_event(halter: Halter, tmp_path: Path) -> None:
    with halter.client() as client, faust(halter, tmp_path) as log:
        n = halter.topics.partitions
        robot = client.run("cart", CUSTOMER, wait=True).wf_run_id
        # In the partition of the robot's cart, and before what happens to that.
        place = partition_of(robot.encode(), n)
        ghost = next(it for it in map("ghost-{}".format, range(1000)) if partition_of(it.encode(), n) == place)
        write_and_take_back(halter, ghost)
        client.post(robot, "page-seen", "/", wait=True)
        assert ("cancelled", "cart-watch") not in posted_to(client, robot)
        halt(client, robot)
        wait_until("the cart is cancelled", lambda: ("cancelled", "cart-watch") in posted_to(client, robot), 40)
        assert f"{robot} is a robot's" in log.read_text()
        assert "ghost" not in log.read_text()
        assert posted_to(client, ghost) == []


# Programs without Halter.


def schemas(folder: Path) -> Path:
    """Write the schemas as `halter schemas export` does."""
    answer = CliRunner().invoke(schemas_command, ["export", str(folder)])
    assert answer.exit_code == 0
    return folder


def in_python(_: Path) -> list[str]:
    return [sys.executable, str(PLAIN / "python" / "cart.py")]


def in_java(folder: Path) -> list[str]:
    """Compile the program with the jars that it pins. They are downloaded once, to the cache."""
    if shutil.which("javac") is None or shutil.which("java") is None:
        pytest.skip("the program in Java needs a JDK, and there is no javac")
    cache = cache_folder() / "example-in-java"
    cache.mkdir(parents=True, exist_ok=True)
    jars = pinned_jars(JARS)
    with sole_downloader(cache, print):
        if missing := [jar for jar in jars if not jar.is_whole(cache)]:
            download(missing, cache, print)
    jars_path = os.pathsep.join(str(cache / jar.file_name) for jar in jars)
    source = PLAIN / "java" / "Cart.java"
    classes = cache / f"classes-{hashlib.sha256(source.read_bytes() + JARS.read_bytes()).hexdigest()[:12]}"
    if not classes.is_dir():
        run("javac", "-Xlint:all", "-Werror", "--release", "17", "-cp", jars_path, "-d", str(folder), str(source))
        shutil.copytree(folder, classes)
    # It runs for two seconds: there is nothing to gain from the second compiler.
    return ["java", "-XX:TieredStopAtLevel=1", "-cp", f"{classes}{os.pathsep}{jars_path}", "Cart"]


def in_go(folder: Path) -> list[str]:
    """Build the program without cgo. Go keeps modules and what it built in caches of its own."""
    if shutil.which("go") is None:
        pytest.skip("the program in Go needs Go, and it is not installed")
    module, program = PLAIN / "go", folder / "cart"
    wanted = re.search(r"^go (\d+)\.(\d+)", (module / "go.mod").read_text(), re.MULTILINE)
    there = re.search(r"go(\d+)\.(\d+)", run("go", "env", "GOVERSION", env=GO))
    assert wanted is not None
    assert there is not None
    if tuple(map(int, there.groups())) < tuple(map(int, wanted.groups())):
        pytest.skip(f"the program in Go needs Go {'.'.join(wanted.groups())}, and this is {there[0]}")
    assert run("gofmt", "-l", str(module)) == ""
    # On a new machine Go's own packages are compiled too. Not optimized, all takes half of the time.
    run("go", "build", "-gcflags=all=-N -l", "-o", str(program), ".", cwd=module, env=GO)
    return [str(program)]


def run(*command: str, cwd: Path | None = None, env: Mapping[str, str] = NOTHING) -> str:
    ended = subprocess.run(
        command, cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, check=False, timeout=170
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.mark.parametrize("program", [in_python, in_java, in_go])
def test_a_program_that_knows_only_the_schemas_interrupts_a_cart(
    halter: Halter, program: Callable[[Path], list[str]], tmp_path: Path
) -> None:
    command = [*program(tmp_path), str(schemas(tmp_path / "avro")), f"cart-{program.__name__.replace('_', '-')}"]
    for again in (False, True):
        ended = subprocess.run(
            command,
            env=halter.environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )
        said = [line.split(maxsplit=1)[1] for line in ended.stdout.splitlines()]
        assert said[0] == ("WfRunStarted" if again else "WfRunStarted by our RunWf"), ended.stderr
        if again:
            # The id is the key of idempotence: nothing happens twice.
            assert ended.returncode == 1
            assert said[-1] == "Rejected by our RunWf"
            assert "ALREADY_EXISTS" in ended.stderr
        else:
            assert ended.returncode == 0, ended.stderr
            assert said[-1] == "Resume by our ExternalEvent"
            assert "ExternalEventPosted by our ExternalEvent" in said


def test_the_pom_names_what_the_pins_have() -> None:
    pom = (PLAIN / "java" / "pom.xml").read_text(encoding="utf-8")
    named = set(re.findall(r"<groupId>([^<]+)</groupId>\s*<artifactId>([^<]+)</artifactId>\s*<version>([^<]+)<", pom))
    pinned = {(jar.group, jar.artifact, jar.version) for jar in pinned_jars(JARS)}
    assert named - {("example", "halter-plain", "1")} <= pinned
    assert len(named) > 3


def test_the_default_partitioner_of_librdkafka_is_another_than_ours(halter: Halter) -> None:
    found = list[int]()
    producer = Producer({"bootstrap.servers": halter.settings.bootstrap})
    keys = [f"key-{number}" for number in range(20)]
    for key in keys:
        # Nobody reads this topic here. On an input topic, these would be dead letters.
        producer.produce(
            halter.topics.task_cancellations, b"", key.encode(), on_delivery=lambda _, it: found.append(it.partition())
        )
        producer.flush(20)
    assert found != [partition_of(key.encode(), halter.topics.partitions) for key in keys]

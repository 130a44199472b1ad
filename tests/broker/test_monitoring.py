"""A real Prometheus over a whole installation: every query finds something, and what metrics count is what the log has.

The log, the dead letters and the inputs are read by a reader that shares no code with the metrics.
"""

import json
import re
import subprocess
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
from prometheus_client.core import Metric as Family
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from halter.broker.cluster import choose_ports
from halter.demo.feed import Feeder, read_feed
from halter.view.place import open_view
from processors.codec import Codec
from processors.core.records.events import (
    Ignored,
    LogEntry,
    Rejected,
    TaskAttemptEnded,
    TaskAttemptRequested,
    ThreadFailed,
    WfRunEnded,
    WfRunStarted,
)
from processors.core.records.failures import is_of_the_engine
from processors.worker.metric_table import COUNTER, PROCESS, PROCESSES
from tests.support.halter_processes import ROOT, Halter
from tests.support.ledger import Ledger
from tests.support.prometheus import scraping
from tests.support.waiting import wait_until

PARTITIONS = 3
MONITORING = ROOT / "docs" / "monitoring"
FIRST, SECOND = 300, 150
"""Records of the example that are fed to one worker, and then to two."""
COUNTED = (
    "halter_rejections_total",
    "halter_ignored_total",
    "halter_task_attempts_requested_total",
    "halter_task_attempts_ended_total",
    "halter_thread_failures_total",
    "halter_wf_runs_started_total",
    "halter_wf_runs_ended_total",
    "halter_dead_letters_total",
    "halter_records_total",
)
Counts = Counter[tuple[str, frozenset[tuple[str, str]]]]
"""How often something was counted, by the name of the metric and its labels."""


def key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset((label, value) for label, value in labels.items() if label != "partition")


class Shop(Halter):
    """An installation with every kind of process, each with a port for probes."""

    def __init__(self, bootstrap: str, prefix: str, folder: Path, store: Path) -> None:
        super().__init__(
            bootstrap, prefix, folder, PARTITIONS, {"HALTER_STORE": "rocksdb", "HALTER_STORE_DIR": str(store)}
        )
        self.view = folder / "view.db"
        self.environment["HALTER_VIEW"] = str(self.view)
        names = ("one", "two", "tasks", "bind", "sink", "view", "console")
        self.ports = dict(zip(names, choose_ports(len(names)), strict=True))
        self.activity, self.changes = f"{prefix}activity", f"{prefix}changes"
        admin = AdminClient(self.settings.admin())
        for made in admin.create_topics([NewTopic(it, 1, 1) for it in (self.activity, self.changes)]).values():
            made.result(20)
        binding: dict[str, Any] = {
            "name": prefix.strip("-"),
            "bindings": [{"name": "pages", "topic": self.activity, "wf_run_id": "value.cart"}],
        }
        binding["bindings"][0] |= {"event": "page-seen", "content": "value.page"}
        (folder / "bindings.yaml").write_text(json.dumps(binding), encoding="utf-8")
        sink = {"name": prefix.strip("-"), "topic": self.changes, "wf_specs": ["cart"]}
        (folder / "sink.yaml").write_text(json.dumps(sink), encoding="utf-8")

    def run(self, running: ExitStack, **commands: Sequence[str]) -> list[subprocess.Popen[bytes]]:
        """Run processes until all are ready; they end with the stack."""
        started = [
            running.enter_context(self.started(name, "-m", "halter", *command, "--health-port", str(self.ports[name])))
            for name, command in commands.items()
        ]

        def are_ready() -> bool:
            for name, process in zip(commands, started, strict=True):
                assert process.poll() is None, (self.folder / f"{name}.log").read_text()
            return all((self.folder / f"{name}.ready").exists() for name in commands)

        wait_until(f"readiness of {list(commands)}", are_ready)
        return started

    def families(self, name: str) -> list[Family]:
        """Return what a process exposes."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[name]}/metrics", timeout=10) as answer:
            return list(text_string_to_metric_families(answer.read().decode()))

    def samples(self, *names: str) -> Counts:
        """Return what these processes expose, added up, without the label `partition`."""
        found: Counts = Counter()
        for name in names:
            for family in self.families(name):
                for it in family.samples:
                    found[key(it.name, **it.labels)] += it.value
        return found

    def exposed(self, name: str) -> dict[str, set[str]]:
        """Return the names of all metrics of a process that runs, each with the labels of its samples."""
        return {
            f"{it.name}_total" if it.type == COUNTER else it.name: {label for one in it.samples for label in one.labels}
            for it in self.families(name)
        }


@pytest.fixture
def shop(bootstrap: str, prefix: str, tmp_path: Path) -> Shop:
    return Shop(bootstrap, prefix, tmp_path, tmp_path / "store")


def counted_in_the_log(shop: Shop) -> Counts:
    """Return what the metrics of workers should say, by the topics."""
    ledger, codec, topics = Ledger(shop.settings), Codec.load(), shop.topics
    ledger.wait_for_marks([topics.wf_events, topics.dead_letters])
    found: Counts = Counter()
    for message in ledger.read(topics.wf_events):
        entry = codec.decode(message.value() or b"")
        assert isinstance(entry, LogEntry)
        match entry.event:
            case Rejected(command=command, code=code):
                found[key("halter_rejections_total", command=command, code=str(code))] += 1
            case Ignored(command=command):
                found[key("halter_ignored_total", command=command)] += 1
            case TaskAttemptRequested(task_def=task_def):
                found[key("halter_task_attempts_requested_total", task_def=task_def)] += 1
            case TaskAttemptEnded(status=status, retry_at_ms=retry_at_ms):
                retried = "no" if retry_at_ms is None else "yes"
                found[key("halter_task_attempts_ended_total", status=str(status), retried=retried)] += 1
            case ThreadFailed(failure=failure):
                name = failure.name if is_of_the_engine(failure.name) else "business"
                found[key("halter_thread_failures_total", failure=name)] += 1
            case WfRunStarted(wf_spec=wf_spec):
                found[key("halter_wf_runs_started_total", wf_spec=wf_spec.name)] += 1
            case WfRunEnded(status=status):
                found[key("halter_wf_runs_ended_total", wf_spec="cart", status=str(status))] += 1
            case _:
                pass
    for message in ledger.read(topics.dead_letters):
        headers = dict(message.headers() or ())
        if "halter.mapping" not in headers:  # those of bindings
            found[key("halter_dead_letters_total", reason=headers["halter.reason"].decode())] += 1
    for topic in topics.inputs:
        found[key("halter_records_total", topic=topic.removeprefix(shop.settings.prefix))] = len(ledger.read(topic))
    found[key("halter_records_total", topic="definition-commands")] = len(ledger.read(topics.definition_commands, 1))
    return found


def others_say_what_they_have_done(shop: Shop) -> bool:
    """Compare task worker, binding and sink with the topics that they have written."""
    ended = {
        dict(labels)["status"]: count
        for (name, labels), count in counted_in_the_log(shop).items()
        if name == "halter_task_attempts_ended_total"
    }
    attempts = {
        dict(labels)["what"]: count
        for (name, labels), count in shop.samples("tasks").items()
        if name == "halter_task_worker_attempts_total"
    }
    bind, sink = shop.samples("bind"), shop.samples("sink")
    changes = len(Ledger(shop.settings).read(shop.changes, 1))
    return (
        changes > FIRST / 10
        and (attempts["succeeded"], attempts["exceptions"]) == (ended["SUCCESS"], ended.get("EXCEPTION", 0))
        and bind[key("halter_transform_records_total")] == bind[key("halter_transform_outputs_total")] == 2
        and bind[key("halter_transform_dead_letters_total")] == 1
        and sink[key("halter_transform_outputs_total")] == changes
    )


def wf_runs_in_the_view(shop: Shop) -> Counts:
    view = open_view(str(shop.view))
    try:
        with view.read() as connection:
            rows = connection.execute(text("SELECT wf_spec_name, status, count(*) FROM wf_runs GROUP BY 1, 2"))
            return Counter({key("halter_wf_runs", wf_spec=name, status=status): count for name, status, count in rows})
    finally:
        view.close()


def of(found: Counts, *names: str) -> Counts:
    return Counter({it: count for it, count in found.items() if it[0] in names and count})


def queries() -> Mapping[str, str]:
    """Return every query of the dashboard, and every selector of an alert, by what it is of."""
    dashboard = json.loads((MONITORING / "dashboard.json").read_text(encoding="utf-8"))
    found = {
        f"{panel['title']}, {target['refId']}": target["expr"]
        .replace("$__rate_interval", "1m")
        .replace("$instance", ".*")
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
    }
    for group in yaml.safe_load((MONITORING / "alerts.yaml").read_text(encoding="utf-8"))["groups"]:
        for rule in group["rules"]:
            for selector in re.findall(r"(?:halter|process)_\w+(?:\{[^}]*\})?", rule["expr"]):
                found[f"{rule['alert']}, {selector}"] = selector
    return found


def expect_the_table(shop: Shop, **processes: str) -> None:
    """Processes that run expose the metrics of the table in docs/metrics.md, with its labels, and no others."""
    for name, process in processes.items():
        metrics = {it.name: it for it in (*PROCESSES[process], *PROCESS)}
        exposed = shop.exposed(name)
        assert exposed.keys() == metrics.keys(), name
        for metric, labels in exposed.items():
            assert labels - {"le"} <= set(metrics[metric].labels), (name, metric)


def expect_what_the_log_has(shop: Shop, *workers: str) -> None:
    """Wait until the metrics of these workers say what the log has."""
    differing: list[Any] = []

    def is_so() -> bool:
        said, true = of(shop.samples(*workers), *COUNTED), of(counted_in_the_log(shop), *COUNTED)
        differing[:] = [(*it, said[it], true[it]) for it in said.keys() | true.keys() if said[it] != true[it]]
        return not differing

    try:
        wait_until("that metrics say what the log has", is_so, every_s=0.5)
    except AssertionError as error:
        raise AssertionError(f"{error}: {differing}") from None


def test_every_query_finds_something_and_metrics_count_what_the_log_has(shop: Shop, unused_port: int) -> None:
    records = read_feed(ROOT / "examples" / "cart" / "events.jsonl", Codec.load())[: FIRST + SECOND]
    feeder = Feeder(shop.settings, shop.topics)
    targets = [f"127.0.0.1:{port}" for port in shop.ports.values()]
    with ExitStack() as running:
        rules = MONITORING / "alerts.yaml"
        prometheus = running.enter_context(scraping(shop.folder, unused_port, targets, rules))
        shop.run(running, one=("worker", "--slot", "one"))
        with shop.client() as client:
            client.register(ROOT / "examples" / "cart" / "cart.yaml")
            # A shard learns of definitions by itself: a client's command waits for that, the feed does not.
            for number in range(8 * PARTITIONS):
                client.run("cart", {"customer": "Ann", "card": "c"}, wf_run_id=f"known-{number}").outcome()
            feeder.feed(records[:FIRST])
            shop.run(
                running,
                tasks=("task-worker", "examples/cart/tasks.py:worker"),
                bind=("bind", "run", str(shop.folder / "bindings.yaml")),
                sink=("sink", "run", str(shop.folder / "sink.yaml")),
                view=("view",),
            )
            url = running.enter_context(console(shop))
            assert httpx.get(url, headers={"Host": "elsewhere"}, trust_env=False).is_client_error
            # What is folded when another worker comes may count twice, so nothing is.
            expect_what_the_log_has(shop, "one")
            (two,) = shop.run(running, two=("worker", "--slot", "two"))
            restored = key("halter_partition_restored_ratio")
            wait_until("its partitions", lambda: shop.samples("two")[restored] >= 1)
            wait_until("all partitions", lambda: shop.samples("one", "two")[restored] == PARTITIONS)
            feeder.feed(records[FIRST:])
            producer = Producer(shop.settings.producer())
            for value in ({"cart": "cart-0043", "page": "/sale"}, {"cart": "no id_"}):
                producer.produce(shop.activity, json.dumps(value).encode())
            assert producer.flush(20) == 0
            client.run("cart", {"customer": "Ann", "card": "c"}, wf_run_id="held").outcome()
            client.stop("held").outcome()
        expect_what_the_log_has(shop, "one", "two")
        wait_until("what others have done", lambda: others_say_what_they_have_done(shop), every_s=0.2)

        def unanswered() -> list[str]:
            return [what for what, query in queries().items() if not prometheus.samples(query)]

        wait_until("that every query finds something", lambda: not unanswered(), every_s=0.5)
        mapping = "halter bind run, halter sink run"
        workers = {"one": "halter worker", "two": "halter worker", "tasks": "halter task-worker"}
        expect_the_table(shop, **workers, bind=mapping, sink=mapping, view="halter view", console="halter console")
        states = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
        assert {rule["health"] for rule in states} == {"ok"}, [it.get("lastError") for it in states]
        two.terminate()
        wait_until(
            "that one worker tells of all WfRuns, as the view has them",
            lambda: of(shop.samples("one"), "halter_wf_runs") == wf_runs_in_the_view(shop),
            every_s=0.2,
        )


@contextmanager
def console(shop: Shop) -> Iterator[str]:
    """Run a console, and yield its address once it answers."""
    (port,) = choose_ports(1)
    options = ("--port", str(port), "--health-port", str(shop.ports["console"]))
    with (shop.folder / "console.log").open("wb") as log:
        command = [shop.python, "-m", "halter", "console", *options]
        process = subprocess.Popen(command, env=shop.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until("the console", lambda: answers(process, url))
        yield url
    finally:
        process.terminate()
        process.wait(20)


def answers(process: subprocess.Popen[bytes], url: str) -> bool:
    assert process.poll() is None
    try:
        return httpx.get(url, trust_env=False, follow_redirects=True).is_success
    except httpx.TransportError:
        return False

"""`halter doctor` where there is no Kafka, or a broken one, and what it says of that which stands beside Kafka."""

import json
import threading
import time
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from halter.doctor.beside import registry
from halter.doctor.checkup import Checkup
from halter.doctor.cluster import Broker, Brokers, Cluster, Once, Partition, Shape, Shapes
from halter.doctor.examination import Check, examine
from halter.doctor.findings import Examined, Finding, Skip, Verdict, worst
from halter.doctor.report import lines
from halter.doctor.topics import MIN_INSYNC, replicas
from halter.view import tables
from halter.view.place import default_url, open_view
from processors.codec import Schemas
from processors.kafka.settings import Settings
from processors.kafka.topic_check import FoundConfig
from processors.runtime.group.readiness import Readiness, State
from processors.worker.probes import Probes
from tests.support.command_line import halter
from tests.support.schema_registry import FORBIDDEN, SchemaRegistry
from tests.support.views import filled

NOWHERE = ("--bootstrap", "127.0.0.1:1", "--connect-timeout", "0.2")
SETTINGS = Settings.load(None, {}, {})


def fine() -> Iterator[Finding]:
    yield Finding(Verdict.FINE, "all is well")


def finds_one_and_hangs() -> Iterator[Finding]:
    yield Finding(Verdict.WARNING, "one")
    threading.Event().wait(30)


def breaks() -> Iterator[Finding]:
    yield Finding(Verdict.FINE, "one")
    raise ValueError("a bug")


def test_no_check_takes_another_one_down_and_each_says_what_it_found_by_its_time_out() -> None:
    begun = time.monotonic()
    checks = [Check("hangs", finds_one_and_hangs, "h"), Check("breaks", breaks, "b"), Check("fine", fine, "f")]
    found = examine(checks, SETTINGS, 0.2)
    assert time.monotonic() - begun < 2
    assert [[it.verdict for it in one.findings] for one in found] == [
        [Verdict.WARNING, Verdict.UNKNOWN],
        [Verdict.FINE, Verdict.UNKNOWN],
        [Verdict.FINE],
    ]
    assert "unexpected ValueError: a bug" in found[1].findings[1].found


def test_an_answer_that_several_checks_wait_for_is_asked_once_and_its_failure_is_told_once() -> None:
    asked = []

    def ask() -> int:
        asked.append(1)
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    shared = Once(ask)

    def needs_it() -> Iterator[Finding]:
        yield Finding(Verdict.FINE, str(shared()))

    found = examine([Check(name, needs_it, "asking") for name in ("first", "second", "third")], SETTINGS, 5)
    assert asked == [1]
    assert [one.findings[0].verdict for one in found] == [Verdict.UNKNOWN, Verdict.SKIPPED, Verdict.SKIPPED]
    assert "'first'" in found[1].findings[0].found


def test_the_worst_finding_is_the_verdict_and_what_was_skipped_counts_for_nothing() -> None:
    def of(*verdicts: Verdict) -> Verdict:
        return worst([Examined("a", tuple(Finding(it, "") for it in verdicts))])

    assert of() is of(Verdict.FINE) is Verdict.FINE
    assert of(Verdict.FINE, Verdict.SKIPPED) is Verdict.SKIPPED
    assert of(Verdict.WRONG, Verdict.WARNING, Verdict.UNKNOWN) is Verdict.WRONG


def test_a_kafka_that_does_not_answer_is_one_finding_and_the_checks_that_need_it_are_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, _ = halter(capsys, "doctor", "--json", *NOWHERE)
    report = json.loads(out)
    assert (code, report["verdict"]) == (1, "wrong")
    said = [it for one in report["checks"] for it in one["findings"] if it["verdict"] != "skipped"]
    assert len(said) == 1
    assert "has not answered within 0.2 s" in said[0]["found"]
    assert {"topics", "rights", "workers"} <= set(report["not_looked_at"])


def test_what_stands_beside_a_kafka_that_does_not_answer_is_looked_at_all_the_same(
    capsys: pytest.CaptureFixture[str], unused_port: int
) -> None:
    code, out, err = halter(capsys, "doctor", "--health", f"127.0.0.1:{unused_port}", *NOWHERE)
    assert code == 1
    assert out.startswith("wrong    health")
    assert err.startswith("halter: Kafka at 127.0.0.1:1")
    assert err.count("\n") == 1


def test_a_cluster_that_answers_hardly_anything_is_reported_within_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    """librdkafka's own mock brokers know no question of an administrator."""
    begun = time.monotonic()
    code, out, err = halter(capsys, "doctor", "--property", "test.mock.num.brokers=3")
    assert time.monotonic() - begun < 12
    assert (code, err) == (3, "")
    assert out.count("not looked at") == 0, "what follows from another check's failure is no finding"
    assert 2 <= out.count("unknown") <= 6


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--health", "http://x"), "expected HOST:PORT"),
        (("--health", "x"), "expected HOST:PORT"),
        (("--service", "wroker"), "there are: "),
    ],
)
def test_a_mistyped_option_is_explained(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], says: str
) -> None:
    code, out, err = halter(capsys, "doctor", *arguments)
    assert code in {1, 2}
    assert out == ""
    assert says in err


def asked(capsys: pytest.CaptureFixture[str], port: int, *more: str) -> dict[str, Any]:
    _, out, _ = halter(capsys, "doctor", "--json", *NOWHERE, "--health", f"127.0.0.1:{port}", *more)
    (finding,) = next(it["findings"] for it in json.loads(out)["checks"] if it["check"] == "health")
    assert isinstance(finding, dict)
    return finding


def test_a_worker_that_is_asked_says_what_is_paused_restoring_or_in_quarantine(
    capsys: pytest.CaptureFixture[str], unused_port: int
) -> None:
    readiness = Readiness()
    with Probes(lambda: readiness.snapshot, lambda: b"", "127.0.0.1", unused_port):
        assert asked(capsys, unused_port)["verdict"] == "warning"
        readiness.lives(State.FOLDING)
        readiness.owns((0, 1), {})
        assert asked(capsys, unused_port)["verdict"] == "fine"
        readiness.owns((0,), {1: 0.5})
        assert "partition 1 to 50%" in asked(capsys, unused_port)["found"]
        readiness.owns((0, 1), {})
        readiness.note_quarantined({0: 2})
        finding = asked(capsys, unused_port)
        assert (finding["verdict"], "2 WfRuns in quarantine" in finding["found"]) == ("warning", True)
        readiness.pauses({1: "RuleBroke at external-events[1]@7"})
        finding = asked(capsys, unused_port)
        assert (finding["verdict"], "external-events[1]@7" in finding["found"]) == ("wrong", True)
        assert "halter quarantine" in finding["mend"]


class KnownCluster(Cluster):
    """A cluster of three brokers of which one is down. Its topics are as they are given, Kafka's own are not there."""

    def __init__(self, *topics: Shape, **least_in_sync: int) -> None:
        wanted = SETTINGS.topics()
        super().__init__(SETTINGS, wanted, AdminClient({"bootstrap.servers": "127.0.0.1:1"}))
        shapes = Shapes({it.name: it for it in topics}, (), ())
        configs = {
            name.replace("_", "-"): {MIN_INSYNC: FoundConfig(str(it), True)} for name, it in least_in_sync.items()
        }
        self.shapes = Once(lambda: shapes)
        self.configs = Once(lambda: configs)
        self.brokers = Once(lambda: Brokers("c", tuple(Broker(it, f"b{it}:9092") for it in (1, 2, 3)), frozenset()))

    def describe(self, names: Iterable[str]) -> Shapes:
        return Shapes({}, tuple(names), ())


def test_all_faults_of_the_replicas_of_one_topic_are_told_each_with_its_mend() -> None:
    three = (1, 2, 3)
    partitions = [
        Partition(0, None, three, ()),
        Partition(1, 1, three, (1,)),
        Partition(2, 1, three, (1, 2)),
        Partition(3, 1, (1, 2), (1, 2)),
    ]
    cluster = KnownCluster(Shape("wf-runs", tuple(partitions), frozenset()), wf_runs=2)
    found = list(replicas(cluster))
    assert [(it.verdict, it.found.partition(":")[0]) for it in found] == [
        (Verdict.WRONG, "partitions without a leader"),
        (Verdict.WRONG, "fewer replicas are in sync than min.insync.replicas says"),
        (Verdict.WARNING, "some replicas are not in sync"),
        (Verdict.WARNING, "topics with fewer replicas than topics.yaml says, though there are brokers for more"),
    ]
    assert len({it.mend for it in found}) == 4
    assert found[3].data == {"topics": ["wf-runs (2, not 3)"]}
    single = KnownCluster(Shape("wf-runs", (Partition(0, 1, (1,), (1,)),), frozenset()), wf_runs=2)
    assert [it.found.partition(":")[0] for it in replicas(single)] == [
        "more replicas have to be in sync than there are",
        "topics with one replica on a cluster of several brokers",
    ]


def test_something_else_at_a_health_port_is_no_process_of_halter(capsys: pytest.CaptureFixture[str]) -> None:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>")

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        assert asked(capsys, server.server_address[1])["verdict"] == "wrong"
        server.shutdown()


def of_view(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, url: str, *more: str) -> Any:
    monkeypatch.setenv("HALTER_VIEW", url)
    _, out, _ = halter(capsys, "doctor", "--json", *NOWHERE, *more)
    (finding,) = next(it["findings"] for it in json.loads(out)["checks"] if it["check"] == "view")
    return finding


def test_a_view_is_looked_at_whether_it_is_there_kept_current_and_of_this_installation(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = str(tmp_path / "view.db")
    assert of_view(capsys, monkeypatch, url)["verdict"] == "wrong"
    filled(url).close()
    stale = of_view(capsys, monkeypatch, url)
    assert (stale["verdict"], "nobody has kept it current for" in stale["found"]) == ("warning", True)
    with open_view(url, writable=True).write() as connection:
        connection.execute(tables.partitions.update().values(seen_ms=time.time_ns() // 1_000_000))
    assert of_view(capsys, monkeypatch, url)["verdict"] == "fine"
    other = of_view(capsys, monkeypatch, url, "--prefix", "shop-")
    assert (other["verdict"], "shop-" in other["found"]) == ("wrong", True)
    with open_view(url, writable=True).write() as connection:
        connection.execute(tables.partitions.update().values(lag=1_000_000))
    assert "offsets behind" in of_view(capsys, monkeypatch, url)["found"]
    assert of_view(capsys, monkeypatch, url)["verdict"] == "warning"


def test_without_halter_view_the_usual_file_is_looked_at_if_it_is_there(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    nothing = of_view(capsys, monkeypatch, "")
    usual = default_url()
    assert (nothing["verdict"], usual in nothing["found"]) == ("skipped", True)
    Path(usual).parent.mkdir()
    filled(usual).close()
    assert of_view(capsys, monkeypatch, "")["found"].startswith(f"{usual}: ")


def of_registry(url: str, **variables: str) -> list[Finding]:
    return list(registry(Settings.load(None, {"KAFKA_SCHEMA_REGISTRY_URL": url, **variables}, {})))


def test_a_schema_registry_is_asked_for_what_is_written_with_its_ids(unused_port: int) -> None:
    with pytest.raises(Skip):
        list(registry(SETTINGS))
    confluent = {"HALTER_FRAMING": "confluent"}
    with SchemaRegistry() as one:
        assert [it.verdict for it in of_registry(one.url)] == [Verdict.FINE]
        (missing,) = of_registry(one.url, **confluent)
        assert missing.verdict is Verdict.WRONG
        assert "halter schemas register" in f"{missing.found}{missing.mend}"
        settings = Settings.load(None, {"KAFKA_SCHEMA_REGISTRY_URL": one.url, **confluent}, {})
        from halter.client.registry import register

        registered = list(register(Schemas.load(), settings.registry(registers=True)))
        (found,) = of_registry(one.url, **confluent)
        assert (found.verdict, f"all {len(registered)} schemas" in found.found) == (Verdict.FINE, True)
        one.trouble = FORBIDDEN
        assert of_registry(one.url, **confluent)[0].verdict is Verdict.WRONG
    assert of_registry(f"http://127.0.0.1:{unused_port}")[0].verdict is Verdict.WRONG


def test_the_report_fits_a_terminal_and_names_the_worst_of_a_check_first() -> None:
    long = "a sentence that goes on " * 10
    examined = [
        Examined("connection", (Finding(Verdict.FINE, long), Finding(Verdict.WRONG, long, long))),
        Examined("registry", (Finding(Verdict.SKIPPED, "none is set"),)),
    ]
    report = list(lines(Checkup(examined, 0.1), lambda word, _: word, 80, all_of_it=False))
    assert max(map(len, report)) <= 80
    assert report[0].startswith("wrong    connection")
    assert "skipped  registry (--all says why)" in report
    assert report[-1] == "1 wrong, 1 fine, in 0.1 s"
    assert "none is set" in "".join(lines(Checkup(examined, 0.1), lambda word, _: word, None, all_of_it=True))

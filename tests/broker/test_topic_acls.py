"""The rights that topics.yaml implies are enough for what each service does, and no more.

On a Kafka of its own that asks for passwords and refuses what no ACL allows.
"""

import asyncio
import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)
from structlog import get_logger
from structlog.testing import capture_logs

from halter import AsyncClient, TaskWorker
from halter.bindings.files import read_bindings_file
from halter.broker.cluster import choose_ports, new_cluster_id
from halter.broker.configuration import BrokerPorts, as_text, properties
from halter.broker.jars import kafka_jars
from halter.broker.node import Node
from halter.client import Client, CommandRejected, HalterError, NewEvent, NoOutcome
from halter.client.dead_letters import read_dead_letter, retry
from halter.console import actions
from halter.task_worker import session
from halter.task_worker.cancellations import Cancellations
from halter.task_worker.refused_reports import RefusedReports
from halter.task_worker.work import Work
from halter.topics.acls import Acl, acls
from halter.topics.admin import make_so
from halter.transform.errors import SourceRefused
from halter.transform.loop import Loop
from processors.codec import Codec
from processors.core.records.commands import ExternalEvent, PutExternalEventDef
from processors.core.records.events import TaskRequest
from processors.kafka.errors import KafkaUnavailable
from processors.kafka.settings import Settings
from processors.kafka.topic_check import check
from processors.kafka.topics import Topics
from processors.kafka.topics_file import load_topics
from processors.runtime.group.clients import Slot
from tests.support.command_line import halter
from tests.support.consoles import OPERATOR as TOKEN
from tests.support.consoles import SETTINGS, served
from tests.support.halter_processes import Halter
from tests.support.waiting import wait_until

DEADLINE_S = 60
OPERATOR = "root"
ONLOOKER, NEWCOMER = "onlooker", "newcomer"
"""They see and read all topics, and have the right to write none. The second one gets it later."""


class GuardedNode(Node):
    """A broker that knows its clients by SASL/PLAIN and lets nobody but `root` do what no ACL allows."""

    users: tuple[str, ...] = ()

    def configure(self) -> None:
        plain = "org.apache.kafka.common.security.plain.PlainLoginModule required "
        passwords = " ".join(f'user_{user}="{user}-secret"' for user in self.users)
        settings = properties(self.ports, self._log_folder) | {
            "listener.security.protocol.map": "PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "PLAINTEXT",
            "sasl.enabled.mechanisms": "PLAIN",
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            "listener.name.plaintext.plain.sasl.jaas.config": (
                f'{plain}username="{OPERATOR}" password="{OPERATOR}-secret" {passwords};'
            ),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": f"User:{OPERATOR};User:ANONYMOUS",
        }
        self._properties.write_text(as_text(settings), encoding="utf-8")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`bootstrap.servers` of a Kafka where the services of topics.yaml have their rights."""
    data = tmp_path_factory.mktemp("guarded")
    topics = load_topics()
    services = (service.principal.removeprefix("User:") for service in topics.services)
    GuardedNode.users = (OPERATOR, ONLOOKER, NEWCOMER, *services)
    port, controller_port = choose_ports(2)
    node = GuardedNode(BrokerPorts(0, (port,), (controller_port,)), data, kafka_jars(print))
    node.configure()
    node.format(new_cluster_id())
    node.start()
    try:
        bootstrap = f"127.0.0.1:{port}"
        admin = AdminClient(client(bootstrap, OPERATOR).admin())
        wait_until_up(admin, node)
        allow(bootstrap, acls(topics))
        for user in (ONLOOKER, NEWCOMER):
            mine = [("TOPIC", topic.name, right) for topic in topics.all for right in ("READ", "DESCRIBE")]
            mine += [("GROUP", name, "READ") for name in ("halter-reader", "halter-tasks", "halter-bindings-shop")]
            allow(bootstrap, [Acl("onlooker", f"User:{user}", kind, name, "LITERAL", it) for kind, name, it in mine])
        yield bootstrap
    finally:
        node.kill()


def allow(bootstrap: str, rights: Iterable[Acl]) -> None:
    """Give rights."""
    bindings = [
        AclBinding(
            ResourceType[acl.resource_type],
            acl.name,
            ResourcePatternType[acl.pattern],
            acl.principal,
            "*",
            AclOperation[acl.operation],
            AclPermissionType.ALLOW,
        )
        for acl in rights
    ]
    admin = AdminClient(client(bootstrap, OPERATOR).admin())
    for future in admin.create_acls(bindings).values():
        future.result()


def client(bootstrap: str, user: str, password: str | None = None) -> Settings:
    """Settings of a user of that Kafka, whose password is known."""
    return Settings.load(
        None,
        {
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
            "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "KAFKA_SASL_MECHANISM": "PLAIN",
            "KAFKA_SASL_USERNAME": user,
            "KAFKA_SASL_PASSWORD": password or f"{user}-secret",
        },
        {},
    )


def wait_until_up(admin: AdminClient, node: Node) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while True:
        assert node.is_running, node.failure()
        try:
            admin.list_topics(timeout=1)
            return
        except KafkaException:
            assert time.monotonic() < deadline, node.failure()


@pytest.fixture(scope="module")
def topics(guarded: str) -> Topics:
    """The topics, made by the service that topics.yaml has for it."""
    topics = load_topics()
    make_so(topics, AdminClient(client(guarded, "halter-admin").admin()), "auto")
    return topics


def writable(settings: Settings, topics: Topics) -> set[str]:
    """The topics that take a record from this user."""
    taken: set[str] = set()
    errors: list[KafkaError] = []

    def delivered(error: KafkaError | None, message: object) -> None:
        if error is None:
            taken.add(message.topic())  # type: ignore[attr-defined]
        else:
            errors.append(error)

    # One producer for each topic: an idempotent one starts only if it may write somewhere, as all services may.
    producer = Producer(settings.producer())
    for topic in topics.all:
        producer.produce(topic.name, key=b"wf-1", value=b"x", on_delivery=delivered)
    assert producer.flush(DEADLINE_S) == 0
    assert {error.code() for error in errors} <= {KafkaError.TOPIC_AUTHORIZATION_FAILED}
    return taken


def readable(settings: Settings, topics: Topics, group: str) -> set[str]:
    """The topics whose first partition this user may read."""
    consumer = Consumer(settings.consumer(group_id=group, **{"enable.partition.eof": True}))
    # What may be described, for instance because it may be written, need not be readable: reading shows it.
    described = {
        topic.name
        for topic in topics.all
        if consumer.list_topics(topic.name, timeout=DEADLINE_S).topics[topic.name].error is None
    }
    consumer.assign([TopicPartition(name, 0, OFFSET_BEGINNING) for name in described])
    answers: dict[str, KafkaError | None] = {}
    deadline = time.monotonic() + DEADLINE_S
    while set(answers) != described:
        assert time.monotonic() < deadline, f"no answer about {described - set(answers)}"
        message = consumer.poll(1)
        if message is not None and message.topic() in described:
            answers[message.topic() or ""] = message.error()
    consumer.close()
    refused = {name for name, error in answers.items() if is_refusal(error)}
    return described - refused


def is_refusal(error: KafkaError | None) -> bool:
    return error is not None and error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED


@pytest.mark.parametrize("name", [service.name for service in load_topics().services])
def test_each_service_reads_and_writes_what_topics_yaml_says_and_nothing_else(guarded: str, topics: Topics, name: str):
    (service,) = (it for it in topics.services if it.name == name)
    settings = client(guarded, service.principal.removeprefix("User:"))
    group = service.groups[0].rstrip("*") if service.groups else "none"
    assert readable(settings, topics, group) == set(service.consumes)
    if service.produces:
        assert writable(settings, topics) == set(service.produces)


def test_a_console_reads_and_retries_with_its_rights_and_one_that_only_reads_sends_nothing(
    guarded: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(actions, "OUTCOME_S", 0.5)  # no worker decides anything here
    topics = load_topics(prefix="shown-", partitions=2)  # whose topics no other test writes to
    make_so(topics, AdminClient(client(guarded, OPERATOR).admin()), "auto")
    allow(guarded, [*acls(topics, "console"), *acls(topics, "acting-console")])
    codec, placed = Codec.load(), list[Message]()
    headers = {"topic": "external-events", "partition": "0", "offset": "7", "reason": "WRONG_PARTITION", "message": "m"}
    producer = Producer(client(guarded, OPERATOR).producer())
    for _ in range(2):
        producer.produce(
            topics.dead_letters, codec.encode(ExternalEvent("w", "e", "e1", 1)), b"w", partition=1,
            headers=[(f"halter.{name}", value.encode()) for name, value in headers.items()],
            on_delivery=lambda _, message: placed.append(message),
        )  # fmt: skip
    assert producer.flush(DEADLINE_S) == 0
    letters = [f"1@{it.offset()}" for it in placed]
    answers = {}
    for user, letter in zip(("halter-acting-console", "halter-console"), letters, strict=True):
        kafka = replace(client(guarded, user), prefix="shown-", partitions=2)
        settings = replace(SETTINGS, kafka=kafka, operator_token=TOKEN, allow_actions=True)
        with served(settings) as console, console.client({"Authorization": f"Bearer {TOKEN}"}) as operator:
            known = lambda: operator.get("/api/workers").json()["is_known"]  # noqa: E731
            wait_until("the coordinator of the group has loaded", known, DEADLINE_S)
            folding = operator.get("/api/folding")
            assert folding.status_code == 200, folding.text
            assert operator.get("/api/wf-run/why?wf_run_id=nobody").json()["code"] == "NO_SUCH_WF_RUN", user
            record = operator.get(f"/api/dead-letter/record?partition=1&offset={letter.partition('@')[2]}").json()
            assert (record["record"], record["fields"]["external_event_id"]) == ("ExternalEvent", "e1")
            sent = [operator.post("/api/actions/retry", json={"fields": {"dead_letter": letter}})]
            if user == "halter-acting-console":
                of_wf_run = {"fields": {"wf_run_id": "w"}}
                sent += [operator.post(f"/api/actions/{it}", json=of_wf_run) for it in ("stop", "quarantine")]
            answers[user] = [it.status_code for it in sent]
    assert answers["halter-acting-console"] == [202, 202, 202], "sent, and not decided yet"
    assert answers["halter-console"][0] in (409, 503), "it may not write"


def test_the_worker_may_check_its_topics_and_do_a_whole_turn(guarded: str, topics: Topics):
    settings = client(guarded, "halter-worker")
    assert check(topics, AdminClient(settings.admin())) == []
    consumer = Consumer(settings.consumer(group_id=topics.group, **{"auto.offset.reset": "earliest"}))
    consumer.subscribe(list(topics.inputs))
    deadline = time.monotonic() + DEADLINE_S
    while not consumer.assignment():
        assert time.monotonic() < deadline
        consumer.poll(0.1)
    producer = Producer(settings.producer(transactional_id=topics.transactional_id(0)))
    producer.init_transactions(DEADLINE_S)
    producer.begin_transaction()
    of_tasks = topics.task_requests, topics.task_cancellations
    for name in (*topics.state, topics.wf_events, *of_tasks, topics.dead_letters, topics.wf_commands):
        producer.produce(name, key=b"wf-1", value=b"x", partition=0)
    producer.flush(DEADLINE_S)
    offsets = [TopicPartition(topics.wf_commands, 0, 1)]
    producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), DEADLINE_S)
    producer.commit_transaction(DEADLINE_S)
    consumer.close()


def doctors_report(
    guarded: str, capsys: pytest.CaptureFixture[str], user: str, *more: str
) -> tuple[int, dict[str, list[Any]]]:
    """Return the exit code of `halter doctor` as this user, and the findings of each check."""
    login = ["security.protocol=SASL_PLAINTEXT", "sasl.mechanism=PLAIN", f"sasl.username={user}"]
    options = [word for it in (*login, f"sasl.password={user}-secret") for word in ("--property", it)]
    code, out, err = halter(capsys, "doctor", "--json", "--bootstrap", guarded, *options, *more)
    assert err == ""
    return code, {it["check"]: it["findings"] for it in json.loads(out)["checks"]}


def test_the_doctor_says_which_services_a_user_can_be_and_what_it_may_not_see(
    guarded: str, topics: Topics, capsys: pytest.CaptureFixture[str]
):
    _, found = doctors_report(guarded, capsys, "halter-tasks")
    (of_rights,) = found["rights"]
    assert (of_rights["verdict"], of_rights["data"]["services"]) == ("fine", ["task-worker"])
    assert of_rights["found"].startswith("User:halter-tasks ")
    said = [it["found"] for check in ("transaction", "workers", "folding") for it in found[check]]
    assert all("this principal" in it for it in said), said
    assert {found[check][0]["verdict"] for check in ("transaction", "workers", "dead letters")} == {"skipped"}
    (of_topics,) = found["topics"]
    assert of_topics["verdict"] == "fine", of_topics
    assert "their settings are hidden from this principal" in of_topics["found"]


def test_the_doctor_names_the_rights_that_a_service_lacks_and_what_grants_them(
    guarded: str, topics: Topics, capsys: pytest.CaptureFixture[str]
):
    code, found = doctors_report(guarded, capsys, "halter-tasks", "--service", "bindings")
    (of_rights,) = found["rights"]
    assert (code, of_rights["verdict"]) == (1, "wrong")
    lacking = {(it["resource"], it["name"], it["operation"]) for it in of_rights["data"]["lacking"]}
    assert lacking == {
        *(("TOPIC", it, "WRITE") for it in ("wf-commands", "external-events", "correlated-events", "dead-letters")),
        ("GROUP", "halter-bindings-", "READ"),
        ("TRANSACTIONAL_ID", "halter-bindings-", "WRITE"),
    }
    assert "halter topics acls --service bindings" in of_rights["mend"]


@pytest.mark.parametrize("service", ["operator", "worker"])
def test_the_doctor_sees_everything_with_the_rights_of_an_operator(
    guarded: str, topics: Topics, capsys: pytest.CaptureFixture[str], service: str
):
    _, found = doctors_report(guarded, capsys, f"halter-{service}", "--service", service)
    assert found["rights"][0]["verdict"] == "fine", found["rights"]
    if service == "operator":
        skipped = {check for check, findings in found.items() if findings[0]["verdict"] in {"skipped", "unknown"}}
        assert skipped <= {"schemas", "registry", "view", "health"}


def test_a_task_worker_that_may_not_read_the_log_says_so_once_and_goes_on(guarded: str, topics: Topics):
    delivered: list[Message] = []
    producer = Producer(client(guarded, "halter-tasks").producer())
    producer.produce(topics.task_reports, b"x", b"w", on_delivery=lambda _, message: delivered.append(message))
    assert producer.flush(DEADLINE_S) == 0
    request = TaskRequest("w", 0, 0, 1, 1, "t", {}, 0, 1)
    with capture_logs() as logs:
        settings = client(guarded, "halter-admin")  # who may look at topics, and read none
        refused = RefusedReports(settings, Codec.load(), topics.wf_events, "halter-tasks", get_logger())
        for _ in range(3):
            refused.expect(delivered[0], request)
        assert refused._thread.is_over.wait(DEADLINE_S)
        refused.expect(delivered[0], request)
        refused.close()
    said = [it for it in logs if it["event"] == "refused_reports_not_seen"]
    assert [it["topic"] for it in said] == ["wf-events"]


def test_a_task_worker_that_may_not_read_cancellations_says_so_once_and_goes_on(guarded: str, topics: Topics):
    settings = client(guarded, "halter-admin")  # who may look at topics, and read none
    with capture_logs() as logs, Client.of(settings, topics) as reader:
        cancellations = Cancellations(reader, "halter-tasks", Work(1), get_logger())
        cancellations.begin(lambda: False)
        assert cancellations._thread.is_over.wait(DEADLINE_S)
        cancellations.close()
    assert [it["topic"] for it in logs if it["event"] == "cancellations_not_seen"] == ["task-cancellations"]


def test_a_definer_that_may_not_read_the_log_is_not_told_of_a_skip_and_puts_all_the_same(guarded: str, topics: Topics):
    admin = AdminClient(client(guarded, OPERATOR).admin())
    any_of_them = AclOperation.ANY, AclPermissionType.ANY
    place = ResourceType.TOPIC, topics.wf_events, ResourcePatternType.LITERAL, "User:halter-definer", "*"
    (deleted,) = [future.result() for future in admin.delete_acls([AclBindingFilter(*place, *any_of_them)]).values()]
    assert deleted
    settings, deadline = client(guarded, "halter-definer"), time.monotonic() + DEADLINE_S
    try:
        while topics.wf_events in readable(settings, topics, "none"):
            assert time.monotonic() < deadline
        with Client.of(settings, topics) as definer, pytest.raises(NoOutcome):
            definer.put_external_event_def("page-seen", timeout_s=1.5)
    finally:
        for future in admin.create_acls(deleted).values():
            future.result()


@pytest.mark.parametrize(
    ("user", "does", "sentence"),
    [
        ("halter-events", lambda it: it.run("cart"), "wf-commands"),
        ("halter-definer", lambda it: it.post("w", "page-seen"), "external-events"),
        ("halter-tasks", lambda it: it.get("w"), "wf-runs"),
        ("halter-events", lambda it: it.definitions(), "definitions"),
    ],
)
def test_who_lacks_a_right_hears_within_three_seconds_where(
    guarded: str, topics: Topics, user: str, does: Callable[[Client], object], sentence: str
):
    begun = time.monotonic()
    with Client.of(client(guarded, user), topics) as it, pytest.raises(HalterError, match=sentence) as refused:
        does(it)
    assert time.monotonic() - begun < 5
    print(refused.value)


def succeeds(call: Callable[[], object]) -> bool:
    try:
        call()
    except HalterError:
        return False
    return True


LACKS_WRITE = "may not do that \\(it lacks the right WRITE on topic '{}'"


@pytest.mark.parametrize(
    ("topic", "call"),
    [
        ("wf-commands", ("run", "cart")),
        ("external-events", ("post", "w", "page-seen")),
        ("external-events", ("post_many", [NewEvent("w", "page-seen")] * 100)),
        ("definition-commands", ("put", PutExternalEventDef("page-seen"))),
        ("operator-commands", ("quarantine", "w")),
    ],
)
def test_who_may_write_nowhere_hears_within_three_seconds_which_right_is_missing(
    guarded: str, topics: Topics, topic: str, call: tuple[Any, ...]
):
    """Kafka gives such a producer no id, which ends it for good, and librdkafka "purges" its records."""
    name, *arguments = call
    settings = client(guarded, ONLOOKER)

    async def asynchronously() -> None:
        async with AsyncClient.of(settings) as it:
            await getattr(it, name)(*arguments)

    def synchronously() -> None:
        with Client.of(settings, topics) as it:
            getattr(it, name)(*arguments)

    for calls in (synchronously, lambda: asyncio.run(asynchronously())):
        begun = time.monotonic()
        with capture_logs() as logs, pytest.raises(HalterError, match=LACKS_WRITE.format(topic)):
            calls()
        assert time.monotonic() - begun < 5
        assert logs == [], "its caller is told"


@pytest.mark.parametrize(
    ("topic", "command"),
    [
        ("wf-commands", ("run", "cart")),
        ("external-events", ("send", "w", "page-seen")),
        ("definition-commands", ("spec", "put", "examples/cart/cart.yaml")),
        ("operator-commands", ("quarantine", "w")),
    ],
)
def test_a_command_says_which_right_to_write_is_missing(
    guarded: str, topics: Topics, capsys: pytest.CaptureFixture[str], topic: str, command: tuple[str, ...]
):
    prefix = "untouched-"  # no test has written there what cannot be decoded
    make_so(load_topics(prefix=prefix), AdminClient(client(guarded, OPERATOR).admin()), "auto")
    rights = [("TOPIC", "READ"), ("TOPIC", "DESCRIBE"), ("GROUP", "READ")]
    allow(guarded, [Acl("it", f"User:{ONLOOKER}", kind, prefix, "PREFIXED", right) for kind, right in rights])
    with Client.of(client(guarded, ONLOOKER), load_topics(prefix=prefix)) as it:
        wait_until("the rights", lambda: succeeds(it.definitions))  # a broker hears of rights a little later
    login = ["security.protocol=SASL_PLAINTEXT", "sasl.mechanism=PLAIN", f"sasl.username={ONLOOKER}"]
    options = [word for it in (*login, f"sasl.password={ONLOOKER}-secret") for word in ("--property", it)]
    code, _, err = halter(capsys, *command, "--bootstrap", guarded, "--prefix", prefix, *options)
    assert code == 1
    assert re.search(LACKS_WRITE.format(prefix + topic), err), err


def test_a_client_that_was_refused_writes_once_it_has_the_right(guarded: str, topics: Topics):
    """What has ended its producer does not end the client: a long-lived program need not start again."""
    post = lambda it: it.post("w", "page-seen")  # noqa: E731
    with Client.of(client(guarded, NEWCOMER), topics) as it:
        for _ in range(2):
            with pytest.raises(HalterError, match=LACKS_WRITE.format("external-events")):
                post(it)
        allow(guarded, [Acl("it", f"User:{NEWCOMER}", "TOPIC", "external-events", "LITERAL", "WRITE")])

        wait_until("the right", lambda: succeeds(lambda: post(it)), DEADLINE_S)
        with pytest.raises(HalterError, match=LACKS_WRITE.format("wf-commands")):
            it.run("cart")


def test_a_task_worker_without_the_right_to_report_runs_no_handler(
    guarded: str, topics: Topics, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(session, "check_task_defs", lambda *_: None)
    ran = list[bool]()
    worker = TaskWorker(handlers={"t": lambda _: ran.append(True)})
    request = Codec.load().encode(TaskRequest("w", 0, 0, 1, 1, "t", {}, 0, time.time_ns() // 1_000_000 + 600_000))
    producer = Producer(client(guarded, OPERATOR).producer())
    producer.produce(topics.task_requests, request, b"w")
    assert producer.flush(DEADLINE_S) == 0
    begun = time.monotonic()
    with (
        Client.of(client(guarded, ONLOOKER), topics) as it,
        pytest.raises(KafkaUnavailable, match=LACKS_WRITE.format("task-reports")),
    ):
        worker.run(it)
    assert time.monotonic() - begun < 5
    assert not ran


def test_a_retry_and_bindings_name_the_right_that_they_lack(guarded: str, topics: Topics, tmp_path: Path):
    """First that to the transactional id; with it, that to the topic."""
    producer, placed = Producer(client(guarded, OPERATOR).producer()), list[Message]()
    source, settings = "orders-of-nobody", client(guarded, ONLOOKER)
    root = AdminClient(client(guarded, OPERATOR).admin())
    root.create_topics([NewTopic(source, 1, 1)])[source].result(DEADLINE_S)
    allow(guarded, [Acl("it", f"User:{ONLOOKER}", "TOPIC", source, "LITERAL", "READ")])
    headers = {"topic": "external-events", "partition": "0", "offset": "7", "reason": "WRONG_PARTITION", "message": "m"}
    producer.produce(
        topics.dead_letters, Codec.load().encode(ExternalEvent("w", "page-seen", "e1")), b"w", partition=1,
        headers=[(f"halter.{name}", value.encode()) for name, value in headers.items()],
        on_delivery=lambda _, message: placed.append(message),
    )  # fmt: skip
    producer.produce(source, b'{"a": 1}', b"w-1")
    assert producer.flush(DEADLINE_S) == 0
    document = tmp_path / "bindings.yaml"
    document.write_text(f"name: shop\nbindings:\n  - {{name: o, topic: {source}, wf_run_id: key, event: gone}}\n")
    mapping = read_bindings_file(document).mapping(topics, Codec.load())

    def bind() -> None:
        Loop(settings, topics, mapping, name="shop", group="halter-bindings-shop", slot=Slot("one"),
             stopped=threading.Event(), log=get_logger("test")).run()  # fmt: skip

    def retries() -> None:
        with Client.of(settings, topics) as it:
            retry(it, read_dead_letter(it, 1, placed[0].offset() or 0))

    for sentence in ("WRITE on transactional id 'halter-", "WRITE on topic '(external-events|dead-letters)'"):
        for does in (retries, bind):
            begun = time.monotonic()
            with pytest.raises(HalterError, match=sentence):
                does()
            assert time.monotonic() - begun < 10
        allow(guarded, [Acl("it", f"User:{ONLOOKER}", "TRANSACTIONAL_ID", "halter-", "PREFIXED", "WRITE")])


def test_another_transactional_id_is_refused_to_the_worker(guarded: str, topics: Topics):
    settings = client(guarded, "halter-worker")
    producer = Producer(settings.producer(transactional_id=f"other-{uuid.uuid4()}"))
    with pytest.raises(KafkaException) as refused:
        producer.init_transactions(DEADLINE_S)
    assert refused.value.args[0].code() == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED


def test_a_wrong_password_is_explained_and_not_printed(guarded: str):
    settings = client(guarded, "halter-worker", password="geheim")
    admin = AdminClient(settings.admin())
    with pytest.raises(KafkaUnavailable) as unavailable, settings.explaining("looking", admin):
        admin.list_topics(timeout=10)
    assert "Kafka refused the credentials" in str(unavailable.value)
    assert "geheim" not in str(unavailable.value)


@pytest.mark.parametrize(
    ("properties", "sentence"),
    [
        (["security.protocol=SASL_PLAINTEXT", "sasl.password=geheim"], "Kafka refused the credentials"),
        (["security.protocol=SSL"], "has not answered within 1 s: "),
        (["security.protocol=PLAINTEXT"], "has not answered within 1 s: "),
    ],
)
def test_a_command_says_at_once_or_in_time_why_it_does_not_come_in(
    guarded: str, capsys: pytest.CaptureFixture[str], properties: list[str], sentence: str
):
    refused = "credentials" in sentence
    login = ["sasl.mechanism=PLAIN", "sasl.username=halter-worker", *properties]
    options = [word for it in login for word in ("--property", it)]
    begun = time.monotonic()
    code, out, err = halter(
        capsys, "show", "w", "--bootstrap", guarded, *options, "--connect-timeout", "60" if refused else "1"
    )
    assert (code, out) == (1, "")
    assert sentence in err
    told = [line for line in err.splitlines() if not line.startswith("halter: waiting for Kafka")]
    assert len(told) == 1, "what a busy machine waits for may be said before"
    assert "geheim" not in err
    assert "nothing came back" not in err, "a reason is known"
    assert time.monotonic() - begun < (30 if refused else 5), "a refusal is not waited out"


def test_who_may_read_the_source_replays_with_rights_to_a_prefix_and_is_told_without_them(guarded: str, tmp_path: Path):
    login = {"KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT", "KAFKA_SASL_MECHANISM": "PLAIN"}
    users = [{**login, "KAFKA_SASL_USERNAME": it, "KAFKA_SASL_PASSWORD": f"{it}-secret"}
             for it in (OPERATOR, "halter-operator")]  # fmt: skip
    source = Halter(guarded, "source-", tmp_path, 1, users[0])
    ours = Halter(guarded, "source-", tmp_path, 1, users[1], makes_topics=False)
    with source.worker(), source.client() as posting, pytest.raises(CommandRejected):
        posting.post("w", "nobody-knows-this").outcome()
    allow(guarded, acls(load_topics(prefix="source-"), "operator"))
    replay = ("replay", "--into", "debug-", "--json")
    refused = ours.command(*replay)
    assert refused.returncode == 1
    assert refused.stderr.startswith("halter: ")
    assert refused.stderr.count("\n") == 1
    assert "this principal may not do that" in refused.stderr or "Authorization" in refused.stderr, refused.stderr
    rights = {
        "TOPIC": ("CREATE", "DELETE", "DESCRIBE", "DESCRIBE_CONFIGS", "READ", "WRITE"),
        "GROUP": ("READ",),
        "TRANSACTIONAL_ID": ("DESCRIBE", "WRITE"),
    }
    allow(guarded, [Acl("operator", "User:halter-operator", kind, "debug-", "PREFIXED", operation)
                    for kind, operations in rights.items() for operation in operations])  # fmt: skip
    wait_until("the rights", lambda: ours.command(*replay).returncode == 0)
    done = json.loads(ours.command(*replay).stdout)
    assert (done["events"], done["same"]) == (1, True)
    assert ours.command("replay", "--into", "debug-", "--remove").returncode == 0


def test_a_command_for_debugging_names_the_topic_that_its_user_may_not_read(
    guarded: str, topics: Topics, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    """It asks in the name of halter-admin, who may look at topics and read none. An empty partition is not read."""
    producer = Producer(client(guarded, OPERATOR).producer())
    for topic in topics.all:
        for partition in range(topic.partitions):
            producer.produce(topic.name, b"x", b"w", partition=partition)
    assert producer.flush(DEADLINE_S) == 0
    capsys.readouterr()  # what a producer says while the broker has just started
    login = ["security.protocol=SASL_PLAINTEXT", "sasl.mechanism=PLAIN", "sasl.username=halter-admin"]
    login.append("sasl.password=halter-admin-secret")
    options = ["--bootstrap", guarded, *(word for it in login for word in ("--property", it))]
    file = str(tmp_path / "never.halter")
    for words in (
        ("history", "w"), ("history", "w", "--previous"), ("state", "w"), ("diff", "w", "1"), ("why", "w"),
        ("why-not", "w", "e"), ("cause", "--wf-run", "w", "--event", "1"), ("cause", topics.wf_events, "0", "0"),
        ("timeline", "w", "--mermaid"), ("verify", "w"), ("verify", "--all"), ("check-state", "--partition", "0"),
        ("export", "w", "-o", file), ("scenario", "from-history", "w"), ("show", "w"),
    ):  # fmt: skip
        code, out, err = halter(capsys, *words, *options)
        assert (code, out) == (1, ""), words
        assert err.count("\n") == 1, (words, err)
        assert "may not" in err, (words, err)
        assert any(topic.name in err for topic in topics.all), (words, err)
    assert not Path(file).exists()


def test_bindings_run_with_their_rights_and_one_to_read_the_topic_and_are_told_without_it(
    guarded: str, topics: Topics, tmp_path: Path
):
    settings, source = client(guarded, "halter-bindings"), "orders-of-a-shop"
    root = AdminClient(client(guarded, OPERATOR).admin())
    root.create_topics([NewTopic(source, 2, 1)])[source].result(DEADLINE_S)
    document = tmp_path / "bindings.yaml"
    document.write_text(f"name: shop\nbindings:\n  - {{name: o, topic: {source}, wf_run_id: key, event: gone}}\n")
    read = read_bindings_file(document)
    stopped = threading.Event()

    def loop() -> Loop:
        mapping = read.mapping(topics, Codec.load())
        return Loop(
            settings, topics, mapping, name="shop", group="halter-bindings-shop", slot=Slot("one"), stopped=stopped,
            log=get_logger("test"),
        )  # fmt: skip

    begun = time.monotonic()
    with pytest.raises(SourceRefused, match=f"topic '{source}' .* may not"):
        loop().run()
    assert time.monotonic() - begun < 5
    allow(guarded, [Acl("bindings", "User:halter-bindings", "TOPIC", source, "LITERAL", "READ")])
    running = loop()
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    producer = Producer(client(guarded, OPERATOR).producer())
    producer.produce(source, b'{"a": 1}', b"w-1")
    producer.produce(source, b"no JSON", b"w-1")
    producer.flush(DEADLINE_S)
    wait_until("both records", lambda: running.figures.records == 2, DEADLINE_S)
    stopped.set()
    thread.join(20)
    assert (running.figures.outputs, running.figures.dead_letters) == (2, 1)

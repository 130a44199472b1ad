"""The rights that topics.yaml implies are enough for what each service does, and no more.

On a Kafka of its own that asks for passwords and refuses what no ACL allows.
"""

import json
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from structlog import get_logger
from structlog.testing import capture_logs

from halter.broker.cluster import choose_ports, new_cluster_id
from halter.broker.configuration import BrokerPorts, as_text, properties
from halter.broker.jars import kafka_jars
from halter.broker.node import Node
from halter.client import Client, CommandRejected, HalterError, NoOutcome
from halter.task_worker.cancellations import Cancellations
from halter.task_worker.refused_reports import RefusedReports
from halter.task_worker.work import Work
from halter.topics.acls import Acl, acls
from halter.topics.admin import make_so
from processors.codec import Codec
from processors.core.records.events import TaskRequest
from processors.kafka.errors import KafkaUnavailable
from processors.kafka.settings import Settings
from processors.kafka.topic_check import check
from processors.kafka.topics import Topics
from processors.kafka.topics_file import load_topics
from tests.support.command_line import halter
from tests.support.halter_processes import Halter
from tests.support.waiting import wait_until

DEADLINE_S = 60
OPERATOR = "root"


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
    GuardedNode.users = (OPERATOR, *(service.principal.removeprefix("User:") for service in topics.services))
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
        assert refused._thread is not None
        refused._thread.join(DEADLINE_S)
        refused.expect(delivered[0], request)
        refused.close()
    said = [it for it in logs if it["event"] == "refused_reports_not_seen"]
    assert [it["topic"] for it in said] == ["wf-events"]


def test_a_task_worker_that_may_not_read_cancellations_says_so_once_and_goes_on(guarded: str, topics: Topics):
    settings = client(guarded, "halter-admin")  # who may look at topics, and read none
    with capture_logs() as logs, Client.of(settings, topics) as reader:
        cancellations = Cancellations(reader, "halter-tasks", Work(1), get_logger())
        cancellations.begin(lambda: False)
        cancellations._thread.join(DEADLINE_S)
        assert not cancellations._thread.is_alive()
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
    assert err.count("\n") == 1
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

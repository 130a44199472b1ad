"""Rules of the client configuration: precedence, properties that nobody may change, secrets that are never printed."""

import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient
from structlog.testing import capture_logs

from halter.client import Client
from processors.kafka.client_errors import ClientErrors, ClientLog
from processors.kafka.errors import KafkaSilent, KafkaUnavailable, SettingsError
from processors.kafka.settings import Settings
from processors.worker.app import expect_topics


def load(
    env: dict[str, str] | None = None, flags: dict[str, str | None] | None = None, file: Path | None = None
) -> Settings:
    return Settings.load(file, env or {}, flags or {})


@pytest.fixture
def properties_file(tmp_path: Path) -> Path:
    path = tmp_path / "client.properties"
    path.write_text(
        "# as for kcat -F\n\nbootstrap.servers = file:9092\nclient.id=from-file\nlinger.ms=7\n", encoding="utf-8"
    )
    return path


def test_flags_override_variables_and_variables_override_the_file(properties_file: Path):
    env = {"KAFKA_BOOTSTRAP_SERVERS": "variable:9092", "KAFKA_CLIENT_ID": "from-variable"}
    settings = load(env, {"bootstrap.servers": "flag:9092", "client.id": None}, properties_file)
    assert settings.bootstrap == "flag:9092"
    assert settings.producer()["client.id"] == "from-variable"
    assert settings.producer()["linger.ms"] == "7"
    assert settings.sources["linger.ms"] == f"{properties_file}:5"


def test_the_properties_file_may_be_named_by_a_variable(properties_file: Path):
    assert load({"HALTER_PROPERTIES": str(properties_file)}).bootstrap == "file:9092"


def test_without_a_setting_kafka_is_where_halter_broker_puts_it():
    assert load().bootstrap == "localhost:9092"


def test_producers_and_consumers_have_what_the_guarantees_rest_on():
    settings = load()
    producer, consumer = settings.producer(), settings.consumer(group_id="g")
    assert producer["partitioner"] == "murmur2_random"
    assert producer["acks"] == "all"
    assert producer["enable.idempotence"] is True
    assert consumer["isolation.level"] == "read_committed"
    assert consumer["enable.auto.commit"] is False
    assert consumer["auto.offset.reset"] == "error"
    assert consumer["group.id"] == "g"
    assert not any(conf["allow.auto.create.topics"] for conf in (producer, consumer, settings.admin()))


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("KAFKA_ACKS", "1"),
        ("KAFKA_REQUEST_REQUIRED_ACKS", "0"),
        ("KAFKA_PARTITIONER", "consistent_random"),
        ("KAFKA_ENABLE_IDEMPOTENCE", "false"),
        ("KAFKA_ISOLATION_LEVEL", "read_uncommitted"),
        ("KAFKA_AUTO_OFFSET_RESET", "latest"),
        ("KAFKA_GROUP_ID", "other"),
        ("KAFKA_GROUP_INSTANCE_ID", "one"),
        ("KAFKA_ENABLE_PARTITION_EOF", "true"),
        ("KAFKA_ENABLE_PARTITION_EOF", "false"),
    ],
)
def test_a_users_setting_against_the_guarantees_is_refused_with_the_reason(variable: str, value: str):
    with pytest.raises(SettingsError, match=rf"from the variable {variable}: Halter .*, because "):
        load({variable: value})


def test_a_users_setting_that_agrees_with_the_guarantees_is_fine():
    load({"KAFKA_ACKS": "-1", "KAFKA_ENABLE_IDEMPOTENCE": "true", "KAFKA_PARTITIONER": "murmur2_random"})


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        (
            {"KAFKA_BOOTSTRAP_SERVER": "x:1"},
            "the variable KAFKA_BOOTSTRAP_SERVER: .* did you mean bootstrap.servers",
        ),
        ({"KAFKA_SASL_PASSWROD": "geheim"}, "did you mean sasl.password"),
        ({"HALTER_PREFX": "x"}, "did you mean HALTER_PREFIX"),
        ({"KAFKA_LINGER_MS": "soon"}, r"linger\.ms from the variable KAFKA_LINGER_MS: \w"),
        ({"KAFKA_SSL_TRUSTSTORE_LOCATION": "x"}, "use `ssl.ca.location`"),
        ({"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_MECHANISM": "PLAIN"}, "sasl.username and sasl.password"),
        ({"KAFKA_BOOTSTRAP_SERVERS": " "}, "expected host:port, found nothing"),
        ({"KAFKA_BOOTSTRAP_SERVERS": "a:9092,b:99999"}, "expected a port from 1 to 65535, found 'b:99999'"),
        ({"KAFKA_BOOTSTRAP_SERVERS": "a:9092,b:kafka"}, "expected a port from 1 to 65535, found 'b:kafka'"),
        ({"KAFKA_BOOTSTRAP_SERVERS": "[::1]:0"}, r"expected a port from 1 to 65535, found '\[::1\]:0'"),
        ({"KAFKA_BOOTSTRAP_SERVERS": "SSL://b:9O92"}, "expected a port from 1 to 65535, found 'SSL://b:9O92'"),
        ({"KAFKA_BOOTSTRAP_SERVERS": "a:9092, http://b:9092"}, "expected host:port, found 'http://b:9092'"),
        ({"HALTER_PARTITIONS": "many"}, "HALTER_PARTITIONS: expected a whole number of at least 1, found 'many'"),
    ],
)  # fmt: skip
def test_a_mistake_is_explained_and_its_source_named(env: dict[str, str], expected: str):
    with pytest.raises(SettingsError, match=expected) as refused:
        load(env)
    assert "geheim" not in str(refused.value)


def test_servers_may_have_the_protocol_in_front():
    servers = "PLAINTEXT://a:9092,sasl_ssl://b:9092"
    assert load({"KAFKA_BOOTSTRAP_SERVERS": servers}).bootstrap == servers


def test_a_line_that_is_no_property_is_named_but_not_quoted(tmp_path: Path):
    path = tmp_path / "client.properties"
    path.write_text("client.id=x\nsasl.password geheim\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"client.properties:2: expected `property=value`") as refused:
        load(file=path)
    assert "geheim" not in str(refused.value)


def test_variables_of_kafkas_scripts_and_of_kubernetes_are_left_to_them():
    settings = load(
        {
            "KAFKA_HEAP_OPTS": "-Xmx1g",
            "KAFKA_HOME": "/opt/kafka",
            "KAFKA_PORT": "tcp://10.0.0.1:9092",
            "KAFKA_SERVICE_HOST": "10.0.0.1",
            "KAFKA_SERVICE_PORT": "9092",
            "KAFKA_PORT_9092_TCP_ADDR": "10.0.0.1",
        }
    )
    assert set(settings.properties) == {"bootstrap.servers"}


def test_secrets_are_never_printed():
    secrets = {
        "KAFKA_SASL_PASSWORD": "geheim-1",
        "KAFKA_SSL_KEY_PASSWORD": "geheim-2",
        "KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET": "geheim-3",
        "KAFKA_SSL_KEY_PEM": "geheim-4",
    }
    properties = {"bootstrap.servers": "x:1"} | {
        name.removeprefix("KAFKA_").lower().replace("_", "."): value for name, value in secrets.items()
    }
    settings = Settings(properties, sources=dict.fromkeys(properties, "a test"))
    for shown in (repr(settings), str(settings), f"{settings.describe()}"):
        assert "geheim" not in shown
        assert shown.count("[redacted]") == 4


def test_a_property_that_concerns_others_only_is_not_passed_on():
    settings = load({"KAFKA_LINGER_MS": "3", "KAFKA_FETCH_MIN_BYTES": "2", "KAFKA_SOCKET_TIMEOUT_MS": "9000"})
    producer, consumer = settings.producer(), settings.consumer(group_id="g")
    assert "fetch.min.bytes" not in producer
    assert "linger.ms" not in consumer
    assert producer["linger.ms"] == "3"
    assert consumer["fetch.min.bytes"] == "2"
    assert producer["socket.timeout.ms"] == consumer["socket.timeout.ms"] == "9000"


def test_librdkafka_takes_every_configuration():
    settings = load()
    with capture_logs() as logs:
        Producer(settings.producer(transactional_id="t", linger_ms=0)).poll(0)
        AdminClient(settings.admin()).poll(0)
        consumer = Consumer(settings.consumer(group_id="g", **{"auto.offset.reset": "earliest"}))
        consumer.poll(0)
        consumer.close()
    assert [entry for entry in logs if "CONFWARN" in entry["event"]] == []


def test_our_own_settings_come_from_variables_unless_a_flag_says_otherwise(tmp_path: Path):
    env = {"HALTER_PREFIX": "staging-", "HALTER_ENVIRONMENT": "staging", "HALTER_PARTITIONS": "4"}
    settings = load(env)
    assert (settings.prefix, settings.environment, settings.partitions) == ("staging-", "staging", 4)
    assert settings.topics().wf_runs == "staging-wf-runs"
    assert settings.topics().partitions == 4
    other = Settings.load(None, env, {}, prefix="", partitions=2, topics_file=tmp_path)
    assert (other.prefix, other.partitions, other.topics_file) == ("", 2, tmp_path)


def reason_of_the_client(settings: Settings) -> str:
    """Return librdkafka's words for the missing connection, whatever they are."""
    told = settings.errors.latest
    assert told is not None
    assert told.code() == KafkaError._TRANSPORT
    assert told.str()
    return told.str()


def test_a_cluster_that_does_not_answer_is_explained_with_its_address():
    settings = load({"KAFKA_BOOTSTRAP_SERVERS": "localhost:1"})
    admin = AdminClient(settings.admin())
    with capture_logs(), pytest.raises(KafkaUnavailable) as unavailable, settings.explaining("looking", admin):
        admin.list_topics(timeout=2)
    assert "looking at localhost:1 (from the variable KAFKA_BOOTSTRAP_SERVERS)" in str(unavailable.value)
    assert reason_of_the_client(settings) in str(unavailable.value)


@pytest.mark.parametrize("what", ["get", "stop"])
def test_whoever_reads_tells_why_there_is_no_connection(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("halter.client.reading.REQUEST_SECONDS", 2.0)
    settings = Settings.load(None, {}, {"bootstrap.servers": "127.0.0.1:1"})
    with capture_logs(), Client.of(settings) as client, pytest.raises(KafkaUnavailable) as unavailable:
        getattr(client, what)("w")
    assert reason_of_the_client(settings) in str(unavailable.value)


def test_a_worker_tells_why_there_is_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TIMEOUT_S", "ATTEMPT_S"):
        monkeypatch.setattr(f"processors.kafka.topic_check.{name}", 2.0)
    settings = Settings.load(None, {}, {"bootstrap.servers": "127.0.0.1:1"})
    with capture_logs(), pytest.raises(KafkaUnavailable) as unavailable:
        expect_topics(settings, settings.topics())
    assert reason_of_the_client(settings) in str(unavailable.value)


def test_a_wrong_password_is_told_even_where_the_call_only_timed_out():
    settings = load()
    with capture_logs() as logs:
        settings.errors(KafkaError(KafkaError._AUTHENTICATION, "SASL authentication error: invalid credentials"))
    error = settings.explain(KafkaException(KafkaError(KafkaError._TIMED_OUT)), "looking")
    assert "Kafka refused the credentials" in str(error)
    assert "Kafka refused the credentials" in logs[0]["reason"]


class Away:
    """A client that gets no answer, and a clock. To hear of the first errors takes a second; `says` is called then."""

    def __init__(self, says: Callable[[], None]) -> None:
        self.now, self.looks, self._says = 0.0, list[float](), says

    def list_topics(self, _: str, timeout: float) -> None:
        self.looks.append(timeout)
        self.now += timeout
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    def poll(self, _: float) -> None:
        if len(self.looks) == 1:
            self.now += 1.0
            self._says()


def test_to_hear_of_the_first_errors_takes_none_of_the_time_after_the_wait(monkeypatch: pytest.MonkeyPatch):
    away = Away(lambda: None)
    monkeypatch.setattr("processors.kafka.settings.time", SimpleNamespace(monotonic=lambda: away.now))
    with pytest.raises(KafkaSilent, match=r"has not answered within 2.5 s"):
        load().reach(away, "wf-events", 2.5)  # type: ignore[arg-type]
    assert (away.looks, away.now) == ([0.5, 1.0], 2.5)


def test_who_is_refused_hears_it_after_the_first_look(monkeypatch: pytest.MonkeyPatch):
    settings = load()
    away = Away(lambda: settings.errors(KafkaError(KafkaError._AUTHENTICATION, "invalid credentials")))
    monkeypatch.setattr("processors.kafka.settings.time", SimpleNamespace(monotonic=lambda: away.now))
    with capture_logs(), pytest.raises(KafkaUnavailable, match="Kafka refused the credentials"):
        settings.reach(away, "wf-events", 60)  # type: ignore[arg-type]
    assert away.looks == [0.5]


def test_an_error_that_repeats_is_logged_once_a_minute():
    now = [0.0]
    errors = ClientErrors(clock=lambda: now[0])
    down = KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down")
    with capture_logs() as logs:
        for now[0] in (0.0, 1.0, 59.0, 61.0):
            errors(down)
        errors(KafkaError(KafkaError._AUTHENTICATION, "x"))
    assert [entry["error"] for entry in logs] == ["_ALL_BROKERS_DOWN", "_ALL_BROKERS_DOWN", "_AUTHENTICATION"]


def test_a_line_of_librdkafka_that_repeats_is_logged_five_times_a_minute_whatever_client_it_is_about():
    now = [0.0]
    errors = ClientErrors(clock=lambda: now[0])
    logs_of_clients = [ClientLog(errors) for _ in range(3)]
    with capture_logs() as logs:
        for now[0] in (0.0, 1.0, 59.0, 61.0):
            for it in logs_of_clients:
                it.log(
                    logging.WARNING, "%s [%s] %s", "METADATAUPDATE", "halter#consumer-1", "Failed to acquire metadata"
                )
                it.log(logging.CRITICAL, "%s [%s] %s", "FATAL", "halter#producer-1", "which is raised")
        logs_of_clients[0].log(logging.WARNING, "%s [%s] %s", "MAXPOLL", "halter#consumer-1", "another kind")
    assert [it["event"].partition(" ")[0] for it in logs] == ["METADATAUPDATE"] * (5 + 3) + ["MAXPOLL"]


def test_a_client_of_settings_that_log_nothing_logs_nothing_of_librdkafka_either():
    with capture_logs() as logs:
        ClientLog(ClientErrors(logs=False)).log(logging.WARNING, "%s %s", "METADATAUPDATE", "x")
    assert logs == []


@pytest.mark.parametrize("value", ["1000", "4999", "60001", "900000"])
def test_a_transaction_timeout_that_cuts_turns_off_or_blocks_readers_for_long_is_refused(value: str):
    with pytest.raises(SettingsError, match=f"transaction.timeout.ms={value} from .*: expected 5000 to 60000, because"):
        load({"KAFKA_TRANSACTION_TIMEOUT_MS": value})


def test_a_sensible_transaction_timeout_is_taken():
    load({"KAFKA_TRANSACTION_TIMEOUT_MS": "30000"})


def test_workers_share_shards_out_in_one_way_only():
    load({"KAFKA_PARTITION_ASSIGNMENT_STRATEGY": "cooperative-sticky"})
    with pytest.raises(SettingsError, match=r"always uses .*=cooperative-sticky, because"):
        load({"KAFKA_PARTITION_ASSIGNMENT_STRATEGY": "range"})


def test_tracing_is_off_unless_the_variable_says_true():
    assert Settings.load(None, {}, {}).tracing() is None
    assert Settings.load(None, {"HALTER_TRACING": "false"}, {}).tracing() is None
    with pytest.raises(SettingsError, match="HALTER_TRACING: expected true or false, found 'yes'"):
        Settings.load(None, {"HALTER_TRACING": "yes"}, {})

"""Describes an installation as an AsyncAPI 3 document: topics as channels, records as messages, rights as operations.

For tools that read such documents: catalogues, generators of clients, pages. Everything is in topics.yaml and in the
schemas already, so nothing is written twice. Pure: it computes a document, and asks no cluster.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from halter.topics.acls import services_named
from processors.codec import RecordSchema, Schemas
from processors.core.records.topic_names import DEAD_LETTERS, FOLD_POSITIONS, WF_EVENTS
from processors.kafka.topics import Kind, Service, Topic, Topics

VERSION: Final = "3.0.0"
"""The version of AsyncAPI that the document follows."""
BINDING: Final = "0.5.0"
"""The version of AsyncAPI's bindings for Kafka."""
KAFKA_PORT: Final = "9092"
WITH_PORT: Final = re.compile(r"(.+):(\d+)")
AVRO: Final = "application/vnd.apache.avro+json;version=1.9.0"
"""AsyncAPI's name for a payload that is an Avro schema as JSON."""
BYTES: Final = "bytes"
"""What topics.yaml says for a topic whose values are those of another topic."""
OF_WORKERS_ALONE: Final = frozenset({"TimerFired"})
"""Records that only workers write, on topics that others write too."""
BINDING_TYPES: Final[Mapping[str, type]] = {
    "retention.ms": int,
    "retention.bytes": int,
    "delete.retention.ms": int,
    "max.message.bytes": int,
}
"""The settings of a topic that the binding wants as numbers; `cleanup.policy` is a list, and the others are text."""
DESCRIPTION: Final = """\
Durable workflows on Kafka that an ExternalEvent can interrupt. Commands and ExternalEvents are records on the input
topics. Whatever becomes of them is on wf-events.

- **Value**: Avro's single-object encoding: C3 01, the CRC-64-AVRO of the schema (8 bytes, lowest first), the record in
  Avro's binary form. With a Schema Registry it may be Confluent's wire format instead (HALTER_FRAMING=confluent), but
  not on the state topics.
- **Key**: as each message says, in UTF-8. The partition is murmur2 of the key modulo the number of partitions, as
  Java's producer computes it; librdkafka needs partitioner=murmur2_random.
- **Consumers** read with isolation.level=read_committed. A record may have been written with the schema of an earlier
  release: look schemas up by fingerprint (`halter schemas export` writes them all).
"""
HEADERS: Final[Mapping[str, Mapping[str, str]]] = {
    WF_EVENTS: {
        "event": "The name of the event.",
        "rules": "The version of the rules that decided it, in decimal digits. Missing in records of 0.2.0 and before.",
        "operator": "Who asked for the command that caused it, if the command says so, in UTF-8.",
        "reason": "Why, for people, if the command says so.",
    },
    DEAD_LETTERS: {
        "halter.topic": "The topic from which the record came.",
        "halter.partition": "Its partition.",
        "halter.offset": "Its offset.",
        "halter.timestamp_ms": "Its time, in milliseconds since 1970.",
        "halter.reason": "Why it could not be taken, for programs.",
        "halter.message": "Why it could not be taken, for people.",
        "halter.retry-of": "Of a note that a dead letter was retried: its partition and offset, `3@1041`.",
        "halter.retried-as": "Of such a note: topic, partition and offset of the new record. It has no `halter.topic`.",
    },
}
"""Topic -> the headers of its records, each with what it is."""


def document(
    topics: Topics,
    schemas: Schemas,
    version: str,
    brokers: str,
    *,
    tls: bool = False,
    service: str | None = None,
) -> dict[str, Any]:
    """Return the AsyncAPI document of an installation, or of what one of its services sees of it.

    `version` is that of Halter, `brokers` are `host:port` with commas between. Raises UnknownService.
    """
    services = services_named(topics, service)
    seen = {name for it in services for name in (*it.consumes, *it.produces)}
    shown = [it for it in topics.all if service is None or it.name in seen]
    records = {topic.declared_name: records_of(topic, schemas) for topic in shown}
    return {
        "asyncapi": VERSION,
        "info": {
            "title": "Halter",
            "version": version,
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "avro/binary",
        "servers": dict(servers(brokers, "kafka-secure" if tls else "kafka")),
        "channels": {it.declared_name: channel(it, topics.prefix, records[it.declared_name]) for it in shown},
        "operations": {
            name: operation for it in services for name, operation in operations(it, topics, records).items()
        },
        "components": {"messages": messages(shown, schemas)},
    }


def records_of(topic: Topic, schemas: Schemas) -> list[str]:
    """Return the names of the messages of a topic; `events/*` stands for a folder of schemas."""
    names: list[str] = []
    for value in topic.values:
        folder = value.removesuffix("/*")
        if value == BYTES:
            names.append("DeadLetter")
        else:
            names += [it.name for it in schemas.records.values() if it.folder == folder] if "/" in value else [value]
    return names


def servers(brokers: str, protocol: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a server for each broker to begin with; host and port are variables with the value as their default."""
    addresses = [it.strip().rpartition("://")[2] for it in brokers.split(",")]
    for number, address in enumerate(addresses, 1):
        found = WITH_PORT.fullmatch(address)
        host, port = found.groups() if found else (address, KAFKA_PORT)
        yield (
            "kafka" if len(addresses) == 1 else f"kafka-{number}",
            {
                "host": "{host}:{port}",
                "protocol": protocol,
                "description": "A broker to begin with; the others are found there.",
                "variables": {"host": {"default": host}, "port": {"default": port}},
            },
        )


def channel(topic: Topic, prefix: str, records: Sequence[str]) -> dict[str, Any]:
    """Return a topic as a channel. The prefix of the installation is a parameter of its address."""
    return {
        "address": f"{{prefix}}{topic.declared_name}",
        "title": topic.declared_name,
        "description": topic.description,
        "parameters": {"prefix": {"default": prefix, "description": "The prefix of the installation."}},
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in records},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "replicas": topic.replication,
                "topicConfiguration": {
                    name: value.split(",") if name == "cleanup.policy" else BINDING_TYPES.get(name, str)(value)
                    for name, value in topic.configs.items()
                },
                "bindingVersion": BINDING,
            }
        },
    }


def operations(service: Service, topics: Topics, records: Mapping[str, Sequence[str]]) -> dict[str, dict[str, Any]]:
    """Return what a service may do, by name: it receives from the topics that it reads, and sends to the others."""
    found: dict[str, dict[str, Any]] = {}
    is_worker = topics.wf_events in service.produces
    for action, names in (("receive", service.consumes), ("send", service.produces)):
        for name in names:
            topic = topics[name]
            place = f"#/channels/{topic.declared_name}"
            operation: dict[str, Any] = {
                "action": action,
                "channel": {"$ref": place},
                "title": f"{service.name} {'reads' if action == 'receive' else 'writes'} {topic.declared_name}",
                "description": service.description,
                "tags": [{"name": service.name}],
            }
            all_of_it = records[topic.declared_name]
            if action == "send" and OF_WORKERS_ALONE & set(all_of_it):
                its_own = [it for it in all_of_it if (it in OF_WORKERS_ALONE) == is_worker]
                operation["messages"] = [{"$ref": f"{place}/messages/{it}"} for it in its_own]
            if action == "receive" and service.groups:
                groups = "|".join(group_pattern(it) for it in service.groups)
                kafka = {"groupId": {"type": "string", "pattern": f"^({groups})$"}, "bindingVersion": BINDING}
                operation["bindings"] = {"kafka": kafka}
            found[f"{service.name}-{action}-{topic.declared_name}"] = operation
    return found


def group_pattern(group: str) -> str:
    """Return a group, or all that begin as it does, as a regular expression."""
    # Of what a name may have, only the dot means something else; and not every reader takes another escape.
    pattern = group.removesuffix("*").replace(".", r"\.")
    return f"{pattern}.*" if group.endswith("*") else pattern


def messages(topics: Iterable[Topic], schemas: Schemas) -> dict[str, dict[str, Any]]:
    """Return every record that stands on one of these topics, by name."""
    return {
        name: message(name, topic, schemas.records.get(name)) for topic in topics for name in records_of(topic, schemas)
    }


def message(name: str, topic: Topic, record: RecordSchema | None) -> dict[str, Any]:
    """Return a record as a message; without a schema, the one whose value is that of another record."""
    said: dict[str, Any] = {"name": name, "title": name}
    kafka = {"key": {"type": "string", "description": topic.key}, "bindingVersion": BINDING}
    if record is None:
        said |= {"summary": topic.description, "contentType": "application/octet-stream"}
        payload: Any = {"type": "string", "format": "binary", "description": "The value of the record, as it came."}
    else:
        first, dot, rest = record.schema["doc"].partition(". ")
        said |= {"summary": first + "." * bool(dot)} | ({"description": rest} if rest else {})
        payload = {"schemaFormat": AVRO, "schema": record.schema}
        kafka |= {"schemaIdLocation": "payload", "schemaIdPayloadEncoding": "Avro single-object encoding"}
    if topic.kind is Kind.STATE and topic.declared_name != FOLD_POSITIONS:
        said["description"] = f"{said.get('description', '')} A tombstone says that the row is gone.".strip()
    headers = HEADERS.get(topic.declared_name)
    if headers is not None:
        said["headers"] = {
            "type": "object",
            "properties": {header: {"type": "string", "description": what} for header, what in headers.items()},
        }
    return said | {"bindings": {"kafka": kafka}, "payload": payload}


def as_yaml(described: Mapping[str, Any]) -> str:
    """Return a document as YAML, in its order and without anchors, which not every reader of AsyncAPI knows."""
    import yaml

    class WithoutAnchors(yaml.SafeDumper):
        def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002  the same for all
            return True

        def represent_text(self, text: str) -> yaml.ScalarNode:
            return self.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)

    WithoutAnchors.add_representer(str, WithoutAnchors.represent_text)
    return yaml.dump(dict(described), Dumper=WithoutAnchors, sort_keys=False, allow_unicode=True, width=120)

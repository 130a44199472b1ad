"""Reads topics.yaml into `Topics`.

A file that breaks what the engine relies on (co-partitioned topics, compacted state, times from the broker)
is refused here, with file, line and field, so no worker starts on it.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import yaml

from processors.codec.resources import resource
from processors.core.records.topic_names import DEAD_LETTERS, QUEUE_PREFIX
from processors.kafka.errors import TopicsFileError
from processors.kafka.topics import ROLES, TASK_QUEUE, Kind, Role, Service, Topic, Topics
from processors.kafka.yaml_fields import FILE_BYTES_MAX, Field, Reader

NAME_LENGTH_MAX: Final = 249
"""Kafka's own limit on the length of a topic's name."""

LEGAL_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")


def load_topics(path: Path | None = None, prefix: str = "", partitions: int | None = None) -> Topics:
    """Read and check topics.yaml, the one that comes with Halter if no path is given.

    `partitions` replaces N. Raises TopicsFileError with file, line and field.
    """
    file = resource("topics.yaml") if path is None else path
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TopicsFileError(f"cannot read topics from {file}: {error}") from error
    return TopicsFile(file, prefix, partitions).read(text)


def check_name(prefix: str, what: str) -> None:
    """Raise TopicsFileError unless names of topics may begin so. `what` says where it was set."""
    if prefix and not LEGAL_NAME.fullmatch(prefix):
        raise TopicsFileError(
            f"{what}: expected letters, digits, '.', '_' and '-', as in names of topics, found {prefix!r}"
        )


class TopicsFile:
    """Turns the text of a topics.yaml into Topics. Used once."""

    def __init__(self, file: Path, prefix: str, partitions: int | None) -> None:
        check_name(prefix, "prefix")
        if partitions is not None and partitions < 1:
            raise TopicsFileError(f"partitions: expected a whole number of at least 1, found {partitions}")
        self.file, self.prefix, self.partitions_override = file, prefix, partitions

    def read(self, text: str) -> Topics:
        """Read, check and name everything."""
        if len(text.encode(errors="surrogatepass")) > FILE_BYTES_MAX:
            raise TopicsFileError(f"{self.file}:1: expected at most {FILE_BYTES_MAX} bytes, found more")
        reader = None
        try:
            reader = Reader(text, self.file)
            document = reader.field()
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise TopicsFileError(f"{self.file}:{line}: not YAML: {error.problem}") from error
        except (yaml.YAMLError, RecursionError) as error:
            raise TopicsFileError(f"{self.file}: not YAML: {error}") from error
        finally:
            if reader is not None:
                reader.dispose()
        document.mapping(frozenset({"settings", "topics", "services"}))
        settings = document.child("settings")
        settings.mapping(frozenset({"group", "topics"}))
        settings.child("topics").mapping(frozenset({"defaults"}))
        defaults = settings.child("topics").child("defaults")
        defaults.mapping(frozenset({"partitions", "replication", "configs"}))
        partitions = self.partitions_override or defaults.child("partitions").count()
        topics = tuple(self._topics(document.child("topics"), defaults, partitions))
        declared = {topic.declared_name: topic for topic in topics}
        for name in ROLES:
            if name not in declared:
                raise document.child("topics").wrong(f"all topics of Halter; '{name}' is missing")
        self._check_dead_letters(document.child("topics"), topics)
        services = tuple(self._services(document, declared))
        group = settings.child("group")
        self._check_name(group, group.text())
        return Topics(
            all=topics,
            services=services,
            task_queues={
                name.removeprefix(QUEUE_PREFIX): topic.name
                for name, topic in declared.items()
                if name.startswith(QUEUE_PREFIX)
            },
            partitions=partitions,
            group=self.prefix + group.text(),
            prefix=self.prefix,
            file=self.file,
            may_be_missing=frozenset(),
            **{name.replace("-", "_"): declared[name].name for name in ROLES},
        )

    def _topics(self, section: Field, defaults: Field, partitions: int) -> Iterator[Topic]:
        allowed = frozenset({"kind", "description", "partitions", "replication", "key", "values", "configs"})
        default_configs = defaults.mapping().get("configs")
        for name, field in section.mapping().items():
            role = ROLES.get(name) or (TASK_QUEUE if name.startswith(QUEUE_PREFIX) else None)
            if role is None:
                raise TopicsFileError(
                    f"{self.file}:{field.line}: topics: expected a topic of Halter or a task queue "
                    f"'{QUEUE_PREFIX}<queue>', found '{name}'"
                )
            fields = field.mapping(allowed)
            self._check_name(field, name)
            configs = {
                **(default_configs.mapping() if default_configs else {}),
                **field.child("configs").mapping(),
            }
            self._check_role(role, field, configs)
            values = field.child("values")
            if not values.texts():
                raise values.wrong("at least one record")
            yield Topic(
                name=self.prefix + name,
                declared_name=name,
                kind=role.kind,
                partitions=partitions if role.partitions is None else role.partitions,
                replication=(fields.get("replication") or defaults.child("replication")).count(),
                configs={key: config.config() for key, config in configs.items()},
                key=field.child("key").text(),
                values=tuple(value.text() for value in values.texts()),
                description=field.child("description").text(),
            )

    @staticmethod
    def _check_role(role: Role, topic: Field, configs: Mapping[str, Field]) -> None:
        """Refuse a topic that would lose records or state, or would not be partitioned like the others."""
        kind = topic.child("kind")
        if kind.text() != role.kind:
            raise kind.wrong(f"'{role.kind}', which is what this topic is")
        partitions = topic.mapping().get("partitions")
        if partitions is not None and role.partitions is None:
            raise partitions.wrong(
                "no such field, because this topic is co-partitioned (settings.topics.defaults.partitions)"
            )
        if role.partitions is not None and topic.child("partitions").count() != role.partitions:
            raise topic.child("partitions").wrong(f"{role.partitions}: its records have one order for all")
        expected = {"cleanup.policy": role.cleanup}
        if role.kind is Kind.INPUT:
            expected["message.timestamp.type"] = "LogAppendTime"
        for name, value in expected.items():
            if name not in configs:
                raise topic.child("configs").wrong(f"{name}: {value}; it is missing")
            if configs[name].config() != value:
                raise configs[name].wrong(f"'{value}': the engine relies on it")
        if "max.message.bytes" not in configs:
            raise topic.child("configs").wrong("max.message.bytes; it is missing")
        configs["max.message.bytes"].count()

    @staticmethod
    def _check_dead_letters(section: Field, topics: tuple[Topic, ...]) -> None:
        largest = max((topic for topic in topics if topic.kind is Kind.INPUT), key=lambda it: it.message_bytes_max)
        limit = section.child(DEAD_LETTERS).child("configs").child("max.message.bytes")
        if limit.count() <= largest.message_bytes_max:
            raise limit.wrong(
                f"more than the {largest.message_bytes_max} of '{largest.declared_name}': what that topic "
                "let in must fit, with headers on top"
            )

    def _services(self, document: Field, declared: Mapping[str, Topic]) -> Iterator[Service]:
        section = document.mapping().get("services")
        if section is None:
            return
        lists = frozenset(
            {"consumes", "produces", "groups", "transactional-ids", "inspects", "administers", "inspects-groups"}
        )
        for name, field in section.mapping().items():
            fields = field.mapping(lists | {"description", "principal"})
            principal = field.child("principal")
            if not principal.text().startswith("User:"):
                raise principal.wrong("a principal such as 'User:halter-worker'")
            topics = {
                key: self._matching(fields[key], declared) if key in fields else ()
                for key in ("consumes", "produces", "inspects", "administers")
            }
            yield Service(
                name=name,
                description=field.child("description").text(),
                principal=principal.text(),
                groups=self._prefixed(fields.get("groups")),
                transactional_ids=self._prefixed(fields.get("transactional-ids")),
                inspects_groups=self._prefixed(fields.get("inspects-groups")),
                **topics,
            )

    def _matching(self, field: Field, declared: Mapping[str, Topic]) -> tuple[str, ...]:
        """Return the names on the cluster of the topics that a list names: each once, in the order of the file."""
        wanted = set()
        for item in field.texts():
            pattern = item.text()
            matching = {
                name
                for name in declared
                if name == pattern or (pattern.endswith("*") and name.startswith(pattern[:-1]))
            }
            if not matching:
                raise item.wrong("a topic of this file")
            wanted |= matching
        return tuple(topic.name for name, topic in declared.items() if name in wanted)

    def _prefixed(self, field: Field | None) -> tuple[str, ...]:
        return tuple(self.prefix + item.text() for item in field.texts()) if field is not None else ()

    def _check_name(self, field: Field, name: str) -> None:
        complete = self.prefix + name
        if not LEGAL_NAME.fullmatch(complete) or len(complete) > NAME_LENGTH_MAX:
            raise TopicsFileError(
                f"{self.file}:{field.line}: {field.name}: expected a name of letters, digits, '.', '_' and "
                f"'-', at most {NAME_LENGTH_MAX} of them with the prefix, found {complete!r}"
            )

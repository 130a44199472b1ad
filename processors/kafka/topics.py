"""topics.yaml as typed values: which topics there are, what they are for, who may use them.

The one place that knows the names of topics: everybody else asks for a topic by its role
(`topics.wf_events`) and gets the name on the cluster, prefix included. Knows nothing of Kafka clients;
whether a cluster agrees with the file is `processors.kafka.topic_check`'s and `halter.topics.admin`'s business.

A file that breaks what the engine relies on (co-partitioned topics, compacted state, times from the broker)
is refused here, with file, line and field, so no worker starts on it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

import yaml

from processors.codec.resources import resource
from processors.core.records.errors import HalterError

NAME_LENGTH_MAX: Final = 249
"""Kafka's own bound on the name of a topic."""

LEGAL_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")
QUEUE_PREFIX: Final = "task-requests-"


FILE_BYTES_MAX: Final = 1024 * 1024
"""Of a topics.yaml, and of the text in it with what stands behind aliases and `<<` written out."""

VALUES_MAX: Final = 100_000
"""So many values it may have, those behind aliases counted each time."""

DEPTH_MAX: Final = 100
FOUND_LENGTH_MAX: Final = 80


class TopicsFileError(HalterError):
    """topics.yaml says something that cannot be. Whoever keeps the file corrects the line that is named."""


class UnknownTaskQueue(HalterError):
    """A TaskDef or a task worker names a queue that topics.yaml does not declare: declare it, then apply."""


RECORD_OVERHEAD_BYTES: Final = 65_536
"""What headers and framing may add to the value of a record."""


class Kind(StrEnum):
    """What a topic is for. It decides how its records are kept."""

    INPUT = "input"
    LOG = "log"
    STATE = "state"
    TASKS = "tasks"
    DEAD_LETTERS = "dead-letters"


@dataclass(frozen=True, slots=True)
class Role:
    """What the engine relies on of one topic. `partitions` is None for N, the number of shards."""

    kind: Kind
    cleanup: str
    partitions: int | None = None


ROLES: Final[Mapping[str, Role]] = {
    "wf-commands": Role(Kind.INPUT, "delete"),
    "external-events": Role(Kind.INPUT, "delete"),
    "task-reports": Role(Kind.INPUT, "delete"),
    "definition-commands": Role(Kind.INPUT, "delete", partitions=1),
    "operator-commands": Role(Kind.INPUT, "compact"),
    "definition-events": Role(Kind.LOG, "delete", partitions=1),
    "definitions": Role(Kind.STATE, "compact", partitions=1),
    "wf-events": Role(Kind.LOG, "delete"),
    "wf-runs": Role(Kind.STATE, "compact"),
    "thread-runs": Role(Kind.STATE, "compact"),
    "wf-run-external-events": Role(Kind.STATE, "compact"),
    "kept-inputs": Role(Kind.STATE, "compact"),
    "fold-positions": Role(Kind.STATE, "compact"),
    "task-requests": Role(Kind.TASKS, "delete"),
    "dead-letters": Role(Kind.DEAD_LETTERS, "delete"),
}
TASK_QUEUE: Final = Role(Kind.TASKS, "delete")
OF_ANOTHER_SHAPE: Final[Mapping[str, tuple[str, ...]]] = {"0.1.0": ("operator-commands",)}
"""Release -> topics that it does not read and wants in another shape than today: they keep it while its workers run, or
one that starts again would refuse to. Workers of today leave them alone so long."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic as topics.yaml wants it: `name` is the name on the cluster, `configs` are Kafka's."""

    name: str
    declared_name: str
    kind: Kind
    partitions: int
    replication: int
    configs: Mapping[str, str]
    key: str
    values: tuple[str, ...]
    description: str

    @property
    def message_bytes_max(self) -> int:
        """The largest batch of records, in bytes, that the topic takes."""
        return int(self.configs["max.message.bytes"])


@dataclass(frozen=True, slots=True)
class Service:
    """A principal and what it may do. All names are names on the cluster, wildcards resolved.

    A transactional id or group that ends in `*` stands for all that begin so. `inspects`: may read the
    configuration of these topics; `administers`: may create and configure them.
    """

    name: str
    description: str
    principal: str
    consumes: tuple[str, ...]
    produces: tuple[str, ...]
    groups: tuple[str, ...]
    transactional_ids: tuple[str, ...]
    inspects: tuple[str, ...]
    administers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Topics:
    """All topics: by role the name on the cluster (`str`), in `all` what else topics.yaml says of them.

    `partitions` is N, the number of shards. `group` is complete: the prefix is in it.
    """

    wf_commands: str
    external_events: str
    task_reports: str
    definition_commands: str
    operator_commands: str
    definition_events: str
    definitions: str
    wf_events: str
    wf_runs: str
    thread_runs: str
    wf_run_external_events: str
    kept_inputs: str
    fold_positions: str
    task_requests: str
    dead_letters: str
    all: tuple[Topic, ...]
    services: tuple[Service, ...]
    task_queues: Mapping[str, str]
    """Named queue -> topic; the default queue is `task_requests`."""
    partitions: int
    group: str
    prefix: str
    file: Path

    @property
    def inputs(self) -> tuple[str, str, str]:
        """The co-partitioned inputs of the fold that are not for operators, in a fixed order."""
        return (self.wf_commands, self.external_events, self.task_reports)

    @property
    def state(self) -> tuple[str, str, str, str, str]:
        """The co-partitioned state topics: what a shard is restored from."""
        return (self.wf_runs, self.thread_runs, self.wf_run_external_events, self.kept_inputs, self.fold_positions)

    def __getitem__(self, name: str) -> Topic:
        """Return the topic of that name on the cluster; KeyError if topics.yaml has none such."""
        for topic in self.all:
            if topic.name == name:
                return topic
        raise KeyError(name)

    def task_queue(self, queue: str | None = None) -> str:
        """Return the topic of a named task queue, of the default queue for None or an empty name."""
        if not queue:
            return self.task_requests
        try:
            return self.task_queues[queue]
        except KeyError:
            known = ", ".join(sorted(self.task_queues)) or "none"
            raise UnknownTaskQueue(
                f"task queue '{queue}' is not declared in {self.file}; named queues there: {known}. "
                f"Declare a topic '{QUEUE_PREFIX}{queue}' and run `halter topics apply`"
            ) from None

    @property
    def reader_group(self) -> str:
        """The group of those who read partitions of their choice and commit nothing.

        librdkafka wants a group from them as well, and asks for the right to it.
        """
        return f"{self.group}-reader"

    @property
    def task_group(self) -> str:
        """The group in which task workers share the task requests."""
        return f"{self.group}-tasks"

    def transactional_id(self, slot: int | str) -> str:
        """Return the transactional id of the worker process in that slot."""
        return f"{self.group}-{slot}"

    def beside(self, release: str) -> "Topics":
        """Return those that workers may use while workers of a release run beside them."""
        left_alone = OF_ANOTHER_SHAPE.get(release, ())
        return replace(self, all=tuple(topic for topic in self.all if topic.declared_name not in left_alone))

    @property
    def message_bytes_max(self) -> int:
        """The largest `max.message.bytes` of all: what a producer that writes everywhere must be allowed."""
        return max(topic.message_bytes_max for topic in self.all)

    @property
    def output_bytes_max(self) -> int:
        """The largest value that fits into every topic that workers write to besides their inputs."""
        outputs = (topic.message_bytes_max for topic in self.all if topic.kind is not Kind.INPUT)
        return min(outputs) - RECORD_OVERHEAD_BYTES

    @staticmethod
    def load(path: Path | None = None, prefix: str = "", partitions: int | None = None) -> "Topics":
        """Read and check topics.yaml; the one that Halter carries if no path is given.

        `partitions` replaces N. Raises TopicsFileError with file, line and field.
        """
        file = resource("topics.yaml") if path is None else path
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise TopicsFileError(f"cannot read topics from {file}: {error}") from error
        return TopicsFile(file, prefix, partitions).read(text)


@dataclass(frozen=True, slots=True)
class Field:
    """A value of the file and where it stands, so that whatever is wrong with it can be found."""

    file: Path
    line: int
    name: str
    value: object

    def wrong(self, expected: str) -> TopicsFileError:
        """Say what was expected here; the caller raises it."""
        found = {dict: "a mapping", list: "a list", type(None): "nothing"}.get(type(self.value))
        return TopicsFileError(
            f"{self.file}:{self.line}: {self.name}: expected {expected}, found {found or _shown(self.value)}"
        )

    def mapping(self, allowed: frozenset[str] | None = None) -> "dict[str, Field]":
        """Return the fields below this one; refuse those that are not allowed."""
        if not isinstance(self.value, dict):
            raise self.wrong("a mapping")
        fields: dict[str, Field] = self.value
        for key, field in fields.items():
            if allowed is not None and key not in allowed:
                raise TopicsFileError(
                    f"{self.file}:{field.line}: {self.name}: expected one of {', '.join(sorted(allowed))}, "
                    f"found '{key}'"
                )
        return fields

    def child(self, key: str) -> "Field":
        """Return a field that must be there."""
        fields = self.mapping()
        if key not in fields:
            raise TopicsFileError(f"{self.file}:{self.line}: {self.name}: '{key}' is missing")
        return fields[key]

    def text(self) -> str:
        """Return a text that is not empty."""
        if not isinstance(self.value, str) or not self.value.strip():
            raise self.wrong("a text")
        return self.value

    def count(self) -> int:
        """Return a whole number of at least 1."""
        if not isinstance(self.value, int) or isinstance(self.value, bool) or self.value < 1:
            raise self.wrong("a whole number of at least 1")
        return self.value

    def texts(self) -> "list[Field]":
        """Return a list of texts, as fields."""
        if not isinstance(self.value, list):
            raise self.wrong("a list of texts")
        items: list[Field] = self.value
        for item in items:
            item.text()
        return items

    def config(self) -> str:
        """Return the value of a Kafka configuration as Kafka writes it."""
        if isinstance(self.value, bool):
            return "true" if self.value else "false"
        if isinstance(self.value, int | float | str):
            return str(self.value)
        raise self.wrong("a text or a number")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= FOUND_LENGTH_MAX else text[: FOUND_LENGTH_MAX - 3] + "..."


@dataclass(frozen=True, slots=True)
class Size:
    """What a node becomes when its aliases are written out."""

    values: int = 1
    text_bytes: int = 0
    depth: int = 1

    def around(self, inner: "Size") -> "Size":
        """With one more value in it."""
        values, text_bytes = self.values + inner.values, self.text_bytes + inner.text_bytes
        return Size(values, text_bytes, max(self.depth, inner.depth + 1))


class Reader(yaml.SafeLoader):
    """YAML to Fields: SafeLoader's values, with lines kept and keys that stand twice refused."""

    def __init__(self, text: str, file: Path) -> None:
        super().__init__(text)
        self.file = file
        self.flattened: set[int] = set()

    def field(self) -> Field:
        """Return the document."""
        node = self.get_single_node()
        if node is None:
            raise TopicsFileError(f"{self.file}:1: expected `settings`, `topics` and `services`, found nothing")
        self._check_size(node)
        return self._field(node, "")

    def _check_size(self, root: yaml.Node) -> None:
        """Refuse a file that becomes large or endless, before anything is made of it: aliases are one node here."""
        sizes: dict[int, Size] = {}
        begun: set[int] = set()
        nodes = [root]
        while nodes:
            node = nodes[-1]
            if id(node) in sizes:
                nodes.pop()
                continue
            inner = _inner_nodes(node)
            if id(node) not in begun:
                begun.add(id(node))
                nodes += [it for it in inner if id(it) not in sizes]
                continue
            size = Size(text_bytes=len(node.value.encode()) if isinstance(node, yaml.ScalarNode) else 0)
            for it in inner:
                if id(it) not in sizes:
                    raise self._refused(it, "a value that does not contain itself, found one")
                size = size.around(sizes[id(it)])
                if size.values > VALUES_MAX or size.text_bytes > FILE_BYTES_MAX or size.depth > DEPTH_MAX:
                    raise self._refused(
                        it,
                        f"at most {VALUES_MAX} values, {FILE_BYTES_MAX} bytes of text and {DEPTH_MAX} levels, what is "
                        "behind an alias counted each time, found more",
                    )
            sizes[id(node)] = size
            nodes.pop()

    def _refused(self, node: yaml.Node, sentence: str) -> TopicsFileError:
        return TopicsFileError(f"{self.file}:{node.start_mark.line + 1}: expected {sentence}")

    def _scalar(self, node: yaml.Node) -> object:
        try:
            return self.construct_object(node)
        except (ValueError, OverflowError):  # thousands of digits, the 45th of a month
            raise self._refused(node, f"a number, a date or text, found {_shown(node.value)}") from None

    def _field(self, node: yaml.Node, name: str) -> Field:
        value: object
        if isinstance(node, yaml.MappingNode):
            value = self._fields(node, name)
        elif isinstance(node, yaml.SequenceNode):
            value = [self._field(item, f"{name}[{index}]") for index, item in enumerate(node.value)]
        else:
            value = self._scalar(node)
        return Field(self.file, node.start_mark.line + 1, name or "the file", value)

    def _fields(self, node: yaml.MappingNode, name: str) -> dict[str, Field]:
        """Resolve `<<`, whose keys give way to the mapping's own; any other key may stand once."""
        own: dict[str, int] = {}
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self._refused(key_node, "a key that is text, found a list or a mapping")
            # What an alias leads to may be flattened already: there both keys stand, and the last one counts.
            if key_node.tag == "tag:yaml.org,2002:merge" or id(node) in self.flattened:
                continue
            line = key_node.start_mark.line + 1
            if own.setdefault(key_node.value, line) != line:
                raise TopicsFileError(
                    f"{self.file}:{line}: {name or 'the file'}: '{key_node.value}' stands here and in line "
                    f"{own[key_node.value]}"
                )
        self.flatten_mapping(node)
        self.flattened.add(id(node))
        fields = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            field = self._field(value_node, f"{name}.{key}" if name else key)
            # A mapping begins a line below its key: the key's line is where people look.
            fields[key] = Field(self.file, key_node.start_mark.line + 1, field.name, field.value)
        return fields


def _inner_nodes(node: yaml.Node) -> list[yaml.Node]:
    match node:
        case yaml.MappingNode():
            return [part for pair in node.value for part in pair]
        case yaml.SequenceNode():
            return list(node.value)
        case _:
            return []


class TopicsFile:
    """Turns the text of a topics.yaml into Topics. One use."""

    def __init__(self, file: Path, prefix: str, partitions: int | None) -> None:
        if prefix and not LEGAL_NAME.fullmatch(prefix):
            raise TopicsFileError(
                f"prefix: expected letters, digits, '.', '_' and '-', as in names of topics, found {prefix!r}"
            )
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
            raise TopicsFileError(f"{self.file}:{line}: expected YAML, found {error.problem}") from error
        except (yaml.YAMLError, RecursionError) as error:
            raise TopicsFileError(f"{self.file}: expected YAML, found {error}") from error
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
        """Refuse what would lose records or state, or let shards of different topics part."""
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
        limit = section.child("dead-letters").child("configs").child("max.message.bytes")
        if limit.count() <= largest.message_bytes_max:
            raise limit.wrong(
                f"more than the {largest.message_bytes_max} of '{largest.declared_name}': what that topic "
                "let in must fit, with headers on top"
            )

    def _services(self, document: Field, declared: Mapping[str, Topic]) -> Iterator[Service]:
        section = document.mapping().get("services")
        if section is None:
            return
        lists = frozenset({"consumes", "produces", "groups", "transactional-ids", "inspects", "administers"})
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
                **topics,
            )

    def _matching(self, field: Field, declared: Mapping[str, Topic]) -> tuple[str, ...]:
        """Names on the cluster of the topics that a list names; each once, in the file's order of topics."""
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

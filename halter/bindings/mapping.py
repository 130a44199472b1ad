"""Says what a record becomes: commands for each binding of its topic, or a refusal with a code and a sentence. Pure.

A record becomes all that a binding makes of it, or nothing: what one event of it cannot be, none is. Another binding of
the same topic does not care. Contents, ids and inputs are checked here as the engine checks them, so that what does not
fit is a dead letter beside its record, and not a rejection on the log.

An event that has no id of its own gets one from its place: topic, partition and offset of the record, the item of
`each`, and its number among the document's events of that topic and ExternalEventDef. Names of bindings are not in it:
whoever renames one and reads the topic again doubles nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from hashlib import sha256
from typing import Final, TypeAlias

from halter.bindings.document import INDEX, ITEM
from halter.bindings.formats import Decoder, Undecodable
from halter.bindings.model import Binding, Bindings, BoundEvent, Start, Tombstone
from halter.bindings.records import values_of
from halter.client.arguments import Arguments
from halter.client.errors import InvalidArgument, RecordTooLarge
from halter.client.meant import meant
from halter.show.masking import Secrets
from halter.transform import Output, SourceRecord, dead_letter
from halter.transform.templates import GivenValues, rendered
from processors.codec import Codec
from processors.core.records.commands import CorrelatedEvent, DefinitionKind, ExternalEvent, RunWfAndPost
from processors.core.records.errors import HalterError
from processors.core.records.model import WfSpecId
from processors.core.records.spec import Expression, WfSpec
from processors.core.records.values import TooMuchWork, Value, ValueProblem, VariableType, describe, fits, kind_of
from processors.core.rules.scope import starting_variables
from processors.core.wf_spec.definitions import Definitions
from processors.core.wf_spec.expressions import condition, evaluate
from processors.fold.inputs import key_of, topic_of
from processors.kafka.topics import Topics

EVENTS_MAX: Final = 10_000
"""The most ExternalEvents that a binding makes of one record."""
EVENTS_BYTES_MAX: Final = 32 * 1024 * 1024
"""The most bytes of them together: they are written in one transaction."""
TOPIC_LENGTH_MAX: Final = 160
"""The most characters of a topic's name in an id, which has 256 at most."""

Command: TypeAlias = ExternalEvent | RunWfAndPost | CorrelatedEvent
Compute: TypeAlias = Callable[[], Value]


class RefusalCode(StrEnum):
    """Why a record is a dead letter. The names of these are in docs/bindings.md."""

    TOMBSTONE = "TOMBSTONE"
    """The record has no value, and the binding does not say what that means."""
    UNDECODABLE = "UNDECODABLE"
    """Its key or value is not in the binding's format."""
    UNCOMPUTABLE = "UNCOMPUTABLE"
    """An expression has no value for this record."""
    BAD_ID = "BAD_ID"
    """A WfRun, an event or a key cannot have this id."""
    CONTENT_TYPE = "CONTENT_TYPE"
    """The content does not fit the type of its ExternalEventDef."""
    START_INPUTS = "START_INPUTS"
    """The inputs do not fit the WfSpec that is to start."""
    UNKNOWN_DEFINITION = "UNKNOWN_DEFINITION"
    """The ExternalEventDef, or the WfSpec to start, is not registered."""
    TOO_LARGE = "TOO_LARGE"
    """An event is larger than a record may be, or there are too many events."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a binding cannot make anything of a record."""

    code: RefusalCode
    message: str


@dataclass(frozen=True, slots=True)
class Posting:
    """A command that a record becomes, with its bytes."""

    command: Command
    value: bytes
    event: BoundEvent


@dataclass(frozen=True, slots=True)
class Mapped:
    """What a binding makes of a record: postings, a refusal, or nothing, with the reason."""

    binding: Binding
    postings: tuple[Posting, ...] = ()
    refusal: Refusal | None = None
    passed: str = ""


class _Refused(Exception):
    """A record cannot be mapped; never leaves this module."""

    def __init__(self, code: RefusalCode, message: str) -> None:
        super().__init__(message)
        self.refusal = Refusal(code, message)


@dataclass(frozen=True, slots=True)
class BoundFormats:
    """The decoders of a binding."""

    value: Decoder
    key: Decoder


class BindingMapping:
    """The RecordMapping of a document of bindings."""

    def __init__(self, bindings: Bindings, formats: Mapping[str, BoundFormats], topics: Topics, codec: Codec) -> None:
        """`formats`: the decoders of each binding, by its name."""
        self._bindings, self._formats, self._topics = bindings, formats, topics
        self._arguments = Arguments(codec)
        self._definitions: Definitions | None = None
        self._position: int | None = None
        self._secrets: dict[str, bool] = {}
        self._of_topic: dict[str, list[Binding]] = {}
        for it in bindings.bindings:
            self._of_topic.setdefault(it.topic, []).append(it)

    def follow(self, definitions: Definitions, position: int | None) -> None:
        """Check what records become against these definitions from here on. Without any, types are not checked.

        `position`: that of `definitions`; workers that are behind it wait.
        """
        self._definitions, self._position = definitions, position or None
        self._secrets = {}

    @property
    def sources(self) -> Sequence[str]:
        """The topics to read."""
        return self._bindings.topics

    @property
    def destinations(self) -> Sequence[str]:
        """The topics that records go to, as their names are on the cluster."""
        kinds = {kind_of_command(event) for it in self._bindings.bindings for event in it.all_events()}
        topics = {
            self._topics.external_events: ExternalEvent,
            self._topics.wf_commands: RunWfAndPost,
            self._topics.correlated_events: CorrelatedEvent,
        }
        return [topic for topic, kind in topics.items() if kind in kinds]

    def outputs(self, record: SourceRecord) -> Sequence[Output]:
        """Return the records that a record becomes, in the order of the document. Raises RegistryUnavailable."""
        return [output for it in self.mapped(record) for output in self._outputs(record, it)]

    def dead_letter(self, record: SourceRecord, code: str, message: str) -> Output:
        """Return the dead letter of a record whose events Kafka refuses: all that the document makes of it together."""
        return dead_letter(self._topics, self._bindings.name, record, code, message)

    def _outputs(self, record: SourceRecord, mapped: Mapped) -> Iterator[Output]:
        if mapped.refusal is not None:
            yield dead_letter(
                self._topics, mapped.binding.name, record, mapped.refusal.code.value, mapped.refusal.message
            )
        for it in mapped.postings:
            topic = self._topics.prefix + topic_of(it.command)
            yield Output(topic, key_of(it.command).encode(), it.value)

    def mapped(self, record: SourceRecord) -> list[Mapped]:
        """Return what each binding of its topic makes of a record. Raises RegistryUnavailable.

        Bytes that several bindings cannot decode for the same reason are one fault of the record, and one dead letter:
        that of the first of them.
        """
        found, first = list[Mapped](), dict[Refusal, str]()
        for binding in self._of_topic.get(record.topic, ()):
            it = self._mapped(binding, record)
            if it.refusal is not None and it.refusal.code is RefusalCode.UNDECODABLE:
                name = first.setdefault(it.refusal, binding.name)
                if name != binding.name:
                    it = Mapped(binding, passed=f"it is a dead letter of {name} already, for the same reason")
            found.append(it)
        return found

    def _mapped(self, binding: Binding, record: SourceRecord) -> Mapped:
        formats = self._formats[binding.name]
        scope = values_of(record, formats.value, formats.key)
        try:
            if record.value is None:
                return self._tombstone(binding, record, scope)
            if binding.when is not None and not self._holds(binding.when, scope, binding.events, "when"):
                return Mapped(binding, passed="`when` is false")
            postings = tuple(self._bounded(self._postings(binding, record, scope)))
        except _Refused as refused:
            return Mapped(binding, refusal=refused.refusal)
        return Mapped(binding, postings, passed="" if postings else "no event of it is wanted")

    def _tombstone(self, binding: Binding, record: SourceRecord, scope: GivenValues) -> Mapped:
        match binding.tombstone:
            case Tombstone.SKIP:
                return Mapped(binding, passed="a tombstone, which is skipped")
            case Tombstone.DEAD_LETTER:
                raise _Refused(
                    RefusalCode.TOMBSTONE,
                    f"expected a value, found none (a tombstone): say what that means by `tombstone` of the binding "
                    f"{binding.name!r}",
                )
            case event:
                return Mapped(binding, (self._posting(event, record, scope, 0),))

    def _postings(self, binding: Binding, record: SourceRecord, scope: GivenValues) -> Iterator[Posting]:
        for index in self._items(binding, scope):
            for event in binding.events:
                if event.when is None or self._holds(
                    event.when, scope, (event,), f"when of {event.external_event_def}"
                ):
                    yield self._posting(event, record, scope, index)

    def _items(self, binding: Binding, scope: GivenValues) -> Iterator[int]:
        """Yield the indexes of the items, each time with the item in the scope; 0 for a record without items."""
        if binding.each is None:
            yield 0
            return
        items = self._value(binding.each, scope, binding.events, "each")
        if not isinstance(items, list):
            found = self._told(binding.events, describe(items), kind_of(items))
            raise _Refused(RefusalCode.UNCOMPUTABLE, f"each: expected a JSON_ARR, found {found}")
        for index, item in enumerate(items):
            scope.give(ITEM, item)
            scope.give(INDEX, index)
            yield index

    @staticmethod
    def _bounded(postings: Iterator[Posting]) -> Iterator[Posting]:
        size = 0
        for count, it in enumerate(postings, 1):
            size += len(it.value)
            if count > EVENTS_MAX:
                raise _Refused(RefusalCode.TOO_LARGE, f"expected at most {EVENTS_MAX} events of a record, found more")
            if size > EVENTS_BYTES_MAX:
                raise _Refused(
                    RefusalCode.TOO_LARGE, f"expected events of at most {EVENTS_BYTES_MAX} bytes together, found more"
                )
            yield it

    # One event.

    def _posting(self, event: BoundEvent, record: SourceRecord, scope: GivenValues, index: int) -> Posting:
        name = event.external_event_def
        event_id = self._id(event, event.event_id, scope, "event_id")
        if event_id is None:
            event_id = derived_id(record, index, event.number)
        content = self._content(event, scope)
        target = self._target(event, scope)
        start = {} if event.start is None else self._start(event, event.start, scope)
        try:
            command = self._arguments.command(
                kind_of_command(event),
                external_event_def=name,
                external_event_id=event_id,
                content=content,
                definitions_position=self._position,
                **target,
                **start,
            )
            return Posting(command, self._arguments.encoded_made(command), event)
        except RecordTooLarge as error:
            raise _Refused(RefusalCode.TOO_LARGE, f"{name}: {error}") from None
        except InvalidArgument as error:
            raise _Refused(RefusalCode.BAD_ID, f"{name}: {error}") from None

    def _target(self, event: BoundEvent, scope: GivenValues) -> dict[str, object]:
        """Return the WfRun that gets an event, or the key of those that do."""
        if event.correlate is not None:
            return {"correlation_key": self._id(event, event.correlate, scope, "correlate")}
        return {"wf_run_id": self._id(event, event.wf_run_id, scope, "wf_run_id")}

    def _id(self, event: BoundEvent, expression: Expression | None, scope: GivenValues, what: str) -> str | None:
        if expression is None:
            return None
        what = f"{what} of {event.external_event_def}"
        value = self._value(expression, scope, (event,), what)
        if isinstance(value, str):
            return value
        if type(value) is int:
            return str(value)
        found = self._told((event,), describe(value), kind_of(value))
        raise _Refused(RefusalCode.BAD_ID, f"{what}: expected a STR or an INT, found {found}")

    def _content(self, event: BoundEvent, scope: GivenValues) -> Value:
        name = event.external_event_def
        content = self._computed(partial(rendered, event.content, scope), (event,), f"content of {name}")
        if self._definitions is None:
            return content
        known = self._definitions.versions(DefinitionKind.EXTERNAL_EVENT_DEF, name)
        if not known:
            kind = DefinitionKind.EXTERNAL_EVENT_DEF
            hint = meant(self._definitions, name, kind)
            raise _Refused(
                RefusalCode.UNKNOWN_DEFINITION, f"expected a registered ExternalEventDef, found {name!r}{hint}"
            )
        # A WfRun may go by an earlier revision. The engine knows by which.
        if not any(fits(content, it.content_type) for it in known):
            found = self._told((event,), describe(content), kind_of(content))
            message = f"content of {name}: expected {_listed(it.content_type for it in known)}, found {found}"
            raise _Refused(RefusalCode.CONTENT_TYPE, message)
        return content

    def _start(self, event: BoundEvent, start: Start, scope: GivenValues) -> dict[str, object]:
        definitions = self._definitions
        latest = wf_spec = None
        if definitions is not None:
            latest = definitions.latest_wf_spec(start.wf_spec, start.major, start.revision)
            if latest is None:
                hint = meant(definitions, start.wf_spec, DefinitionKind.WF_SPEC)
                message = f"expected a registered WfSpec to start, found {start.wf_spec!r}{version_of(start)}{hint}"
                raise _Refused(RefusalCode.UNKNOWN_DEFINITION, message)
            wf_spec = self._wf_spec(definitions, latest)
        variables = {} if wf_spec is None else wf_spec.threads[wf_spec.entrypoint].variables
        inputs = dict[str, Value]()
        for name, template in start.inputs.items():
            what = f"input {name} of {start.wf_spec}"
            secret = name in variables and variables[name].masked
            inputs[name] = self._computed(partial(rendered, template, scope), (event,), what, secret=secret)
        if wf_spec is not None:
            try:
                starting_variables(wf_spec.threads[wf_spec.entrypoint], inputs)
            except ValueProblem as problem:
                message = f"inputs of {latest}: {self._told((event,), str(problem), problem.unquoted)}"
                raise _Refused(RefusalCode.START_INPUTS, message) from None
        return {
            "wf_spec_name": start.wf_spec,
            "variables": inputs,
            "wf_spec_major": start.major,
            "wf_spec_revision": start.revision,
        }

    @staticmethod
    def _wf_spec(definitions: Definitions, wf_spec_id: WfSpecId) -> WfSpec | None:
        try:
            return definitions.wf_spec(wf_spec_id)
        except HalterError:
            return None  # one of a later release: the engine knows it

    # The values.

    def _holds(self, when: Expression, scope: GivenValues, events: Sequence[BoundEvent], what: str) -> bool:
        return self._computed(lambda: condition(when, scope), events, what) is True

    def _value(self, expression: Expression, scope: GivenValues, events: Sequence[BoundEvent], what: str) -> Value:
        def found() -> Value:
            scope.spend(1)
            return evaluate(expression, scope)

        return self._computed(found, events, what)

    def _computed(self, compute: Compute, events: Sequence[BoundEvent], what: str, *, secret: bool = False) -> Value:
        try:
            return compute()
        except Undecodable as problem:
            raise _Refused(RefusalCode.UNDECODABLE, str(problem)) from None
        except TooMuchWork:
            message = (
                f"{what}: expected expressions that are computed within bounds, found more steps than a record may take"
            )
            raise _Refused(RefusalCode.UNCOMPUTABLE, message) from None
        except ValueProblem as problem:
            told = problem.unquoted if secret else self._told(events, str(problem), problem.unquoted)
            raise _Refused(RefusalCode.UNCOMPUTABLE, f"{what}: {told}") from None

    def _told(self, events: Sequence[BoundEvent], sentence: str, unquoted: str) -> str:
        """Return a sentence, without values if a content of these events is masked somewhere."""
        return unquoted if any(self.is_secret(it.external_event_def) for it in events) else sentence

    def is_secret(self, external_event_def: str) -> bool:
        """Return True if the contents of an ExternalEventDef are masked in a WfSpec that names it."""
        if self._definitions is None:
            return False
        known = self._secrets.get(external_event_def)
        if known is None:
            known = self._secrets[external_event_def] = self._is_secret(self._definitions, external_event_def)
        return known

    def _is_secret(self, definitions: Definitions, name: str) -> bool:
        try:
            named = list(definitions.naming(DefinitionKind.EXTERNAL_EVENT_DEF, name))
        except HalterError:
            return True  # a WfSpec of a later release may mask it
        return any(Secrets.of(definitions.wf_spec(it)).external_event(name) for it in named)

    def is_secret_input(self, start: Start, name: str) -> bool:
        """Return True if an input of a WfSpec to start is masked."""
        if self._definitions is None:
            return False
        latest = self._definitions.latest_wf_spec(start.wf_spec, start.major, start.revision)
        wf_spec = None if latest is None else self._wf_spec(self._definitions, latest)
        if wf_spec is None:
            return True
        variable = wf_spec.threads[wf_spec.entrypoint].variables.get(name)
        return variable is not None and variable.masked


def kind_of_command(event: BoundEvent) -> type[Command]:
    """Return the command that an event is posted by."""
    if event.correlate is not None:
        return CorrelatedEvent
    return ExternalEvent if event.start is None else RunWfAndPost


def derived_id(record: SourceRecord, index: int, number: int) -> str:
    """Return the id of an event that has none of its own: `orders/3/1207/0`.

    `index`: of the item of `each`. `number`: among the document's events of that topic and ExternalEventDef.
    """
    topic = record.topic
    if len(topic) > TOPIC_LENGTH_MAX:
        topic = f"{topic[: TOPIC_LENGTH_MAX - 33]}~{sha256(topic.encode()).hexdigest()[:32]}"
    which = f"{index}.{number}" if number else str(index)
    return f"{topic}/{record.partition}/{record.offset}/{which}"


def version_of(start: Start) -> str:
    """Return the version of a WfSpec to start, as it follows its name in a sentence."""
    if start.major is None:
        return ""
    return f" {start.major}" if start.revision is None else f" {start.major}.{start.revision}"


def _listed(types: Iterable[VariableType | None]) -> str:
    return " or ".join(dict.fromkeys(str(it) for it in types))

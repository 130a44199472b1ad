"""Reads a document of bindings from its file, with the schemas that it names. Every problem has its line and column."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from halter.bindings.definitions_check import problems_with
from halter.bindings.document import read_bindings
from halter.bindings.formats import FormatProblem, decoder_of
from halter.bindings.mapping import BindingMapping, BoundFormats
from halter.bindings.model import Bindings
from halter.files.document_kinds import BINDINGS, another_kind
from halter.files.yaml_files import Problem, UnreadableFile, YamlFile, read_yaml
from halter.transform.topics import does_not_exist
from processors.codec import Codec
from processors.codec.registry import ConfluentRegistry
from processors.core.records.errors import HalterError
from processors.core.wf_spec.definitions import Definitions
from processors.core.wf_spec.document_problems import DocumentProblem
from processors.kafka.settings import Settings
from processors.kafka.topics import Topics


class InvalidBindings(HalterError):
    """A document of bindings is not valid. Its author acts; the message has one line for each problem."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(f"{it} [{it.code}]" for it in problems))
        self.problems = problems


@dataclass(slots=True)
class BindingsFile:
    """A document of bindings, its problems, and what reads its records."""

    file: str
    bindings: Bindings = field(default_factory=lambda: Bindings("", ()))
    problems: list[Problem] = field(default_factory=list)
    formats: dict[str, BoundFormats] = field(default_factory=dict)
    _read: YamlFile | None = None

    def check_against(self, definitions: Definitions) -> None:
        """Add the problems that the document has with these definitions, if it has none in itself."""
        if not self.problems:
            self._add(problems_with(self.bindings, definitions))

    def check_topics(self, topics: Topics) -> None:
        """Add a problem for each binding that would read what bindings write: its events would be records again."""
        written = (topics.external_events, topics.wf_commands, topics.correlated_events, topics.dead_letters)
        message = "expected a topic that bindings do not write, found Halter's own {!r}: its records would never end"
        self._add(
            DocumentProblem("TOPIC_WRITTEN", (*it.path, "topic"), message.format(it.topic))
            for it in self.bindings.bindings
            if it.topic in written
        )

    def check_topics_exist(self, settings: Settings, there: Collection[str]) -> None:
        """Add a problem for each topic that the cluster does not have. A binding of it would not start."""
        self._add(
            DocumentProblem("TOPIC_MISSING", (*it.path, "topic"), does_not_exist(it.topic, settings, there))
            for it in self.bindings.bindings
            if it.topic not in there
        )

    def _add(self, problems: Iterable[DocumentProblem]) -> None:
        read = self._read
        located = [read.problem(it.path, str(it), it.code) for it in problems] if read is not None else []
        # What events share is checked for each of them.
        self.problems = sorted({*self.problems, *located}, key=lambda it: (it.line, it.column, it.message))

    def mapping(self, topics: Topics, codec: Codec) -> BindingMapping:
        """Return what maps records. Raises InvalidBindings."""
        self.check_topics(topics)
        if self.problems:
            raise InvalidBindings(self.problems)
        return BindingMapping(self.bindings, self.formats, topics, codec)


def read_bindings_file(path: Path, registry: ConfluentRegistry | None = None) -> BindingsFile:
    """Read a file of bindings. Its problems are returned, not raised. Raises ExtraMissing.

    `registry`: for Avro without a schema of its own. Without one, that is a problem.
    """
    read = BindingsFile(str(path))
    try:
        read._read = read_yaml(path)
    except UnreadableFile as error:
        read.problems = list(error.problems)
        return read
    if (other := another_kind(read._read.data, path, BINDINGS)) is not None:
        read.problems = [read._read.problem((), other, "FIELD_MISSING")]
        return read
    read.bindings, problems = read_bindings(read._read.data)
    folder = path.parent
    if not problems:
        for it in read.bindings.bindings:
            decoders = []
            for format_ in (it.format, it.key_format):
                try:
                    decoders.append(decoder_of(format_, folder, registry))
                except FormatProblem as problem:
                    problems.append(DocumentProblem("FORMAT", (*format_.path, *problem.path), problem.message))
            if len(decoders) == 2:
                read.formats[it.name] = BoundFormats(*decoders)
    read._add(problems)
    return read

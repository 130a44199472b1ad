"""Reads the document of a sink from its file. Every problem has its line and column."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from halter.files.document_kinds import SINK, another_kind
from halter.files.yaml_files import Problem, UnreadableFile, YamlFile, read_yaml
from halter.sinks.definitions_check import unknown_names
from halter.sinks.document import read_sink
from halter.sinks.model import Sink
from processors.core.records.errors import HalterError
from processors.core.wf_spec.definitions import Definitions
from processors.core.wf_spec.document_problems import DocumentProblem
from processors.core.wf_spec.document_problems import Path as DocumentPath
from processors.kafka.topics import Topics


class InvalidSink(HalterError):
    """The document of a sink is not valid. Its author acts; the message has one line for each problem."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(f"{it} [{it.code}]" for it in problems))
        self.problems = problems


CODES: Final = {"wf_specs": "WF_SPEC_MISSING", "variables": "VARIABLE_MISSING"}


@dataclass(frozen=True, slots=True)
class SinkFile:
    """A sink and the file that it was read from."""

    sink: Sink
    _read: YamlFile

    def unknown(self, definitions: Definitions) -> list[Problem]:
        """Return a problem for each name that no definition has, with its place."""
        document = self._read.data
        assert isinstance(document, dict)
        return [
            self.located((it.field, document[it.field].index(it.name)), it.message, CODES[it.field])
            for it in unknown_names(self.sink, definitions)
        ]

    def located(self, path: DocumentPath, message: str, code: str) -> Problem:
        """Return a problem with a part of the document, with its place in the file."""
        it = DocumentProblem(code, path, message)
        return self._read.problem(it.path, str(it), it.code)


def read_sink_file(path: Path, topics: Topics) -> SinkFile:
    """Return the sink of a file. It may not write to one of `topics`, which are Halter's. Raises InvalidSink."""
    try:
        read = read_yaml(path)
    except UnreadableFile as error:
        raise InvalidSink(list(error.problems)) from error
    if (other := another_kind(read.data, path, SINK)) is not None:
        raise InvalidSink([read.problem((), other, "FIELD_MISSING")])
    sink, problems = read_sink(read.data)
    if sink.topic in {it.name for it in topics.all}:
        message = f"expected a topic of yours, found {sink.topic!r}: a sink may write to no topic of Halter's own"
        problems.append(DocumentProblem("TOPIC_OWN", ("topic",), message))
    if problems:
        located = {read.problem(it.path, str(it), it.code) for it in problems}
        raise InvalidSink(sorted(located, key=lambda it: (it.line, it.column, it.message)))
    return SinkFile(sink, read)

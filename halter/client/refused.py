"""Says why workers refuse definitions in which a client has found nothing wrong. Knows no rules: it asks the client."""

from collections.abc import Collection, Iterable
from typing import Protocol

from processors.core.records.commands import DefinitionCommand
from processors.core.wf_spec.document_problems import DocumentProblem


class Refusing(Protocol):
    """A client."""

    def refusals(self, commands: Iterable[DefinitionCommand]) -> list[tuple[int, DocumentProblem]]:
        """Return why definitions would be refused if they were put now, each with its index."""


def why_refused(client: Refusing, commands: Iterable[DefinitionCommand], refused: Collection[int]) -> str:
    """Return the probable reason for which some of these, by index, were refused a moment ago."""
    if any(index in refused for index, _ in client.refusals(commands)):
        return "another client registered something meanwhile; put them again"
    return (
        "this client would take them, so the workers have other settings or are of another release: if of an earlier "
        "one, upgrade them first (docs/upgrades.md)"
    )

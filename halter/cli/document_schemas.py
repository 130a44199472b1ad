"""The JSON Schemas of the documents that people write, for editors. docs/json_schemas.py writes them.

Nothing here checks a document by them: the readers do, and say more.
"""

from typing import Final

from processors.codec.resources import resource

FOLDER: Final = "schemas/documents"
SUFFIX: Final = ".schema.json"

WHAT: Final = {
    "definitions": "a WfSpec, or a file of definitions: what halter spec check and put take",
    "wf-spec": "a WfSpec alone",
    "scenario": "a scenario: what halter scenario run takes",
    "claims": "claims and values for halter explore",
    "bindings": "bindings: what halter bind check and run take",
    "sink": "a sink: what halter sink check and run take",
}
"""Name of a schema -> the documents that it is for."""


def schema_text(name: str) -> str:
    """Return a schema as JSON text."""
    return (resource(FOLDER) / f"{name}{SUFFIX}").read_text(encoding="utf-8")

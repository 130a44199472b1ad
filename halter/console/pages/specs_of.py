"""Reads a WfSpec from the view, as it was registered."""

from functools import lru_cache

from sqlalchemy import Connection

from halter.view import definition_lists
from processors.core.records.spec import WfSpec
from processors.core.wf_spec.json_document import parse_json_document
from processors.core.wf_spec.reader import read_wf_spec

NO_DOCUMENT = "The view does not have the document of this version."


def spec_of(connection: Connection, name: str, version: str | None) -> tuple[WfSpec | None, str]:
    """A version of a WfSpec, else the newest; or None, and why there is none."""
    found = definition_lists.wf_spec_versions(connection, name)
    rows = [it for it in found if it["version"] == version] or ([] if version else found[:1])
    if not rows:
        return None, f"The view knows no WfSpec {name}{' ' + version if version else ''}."
    document = rows[0]["document"]
    return (None, NO_DOCUMENT) if not document else _read(document)


@lru_cache(256)
def _read(document: str) -> tuple[WfSpec | None, str]:
    wf_spec, problems = read_wf_spec(parse_json_document(document))
    return wf_spec, "" if wf_spec is not None else f"Its document cannot be read: {problems[0]}"

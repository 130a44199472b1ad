"""Explores WfSpecs for tests."""

from typing import Any

import yaml

from halter.explore.claims import Claims
from halter.explore.claims_document import read_claims
from halter.explore.inputs import Bounds
from halter.explore.samples import Given, samples_of
from halter.explore.search import Search
from halter.explore.subject import Subject, subject_of
from halter.files.scenario_document import read_scenario


def subject_in(document: dict[str, Any]) -> Subject:
    """Return the WfSpec of a document that could be the head of a scenario."""
    scenario, problems = read_scenario({"name": "explored", **document, "steps": []}, lambda name: name)
    assert scenario is not None, problems
    return subject_of(scenario.definitions, limits=scenario.limits)


def wf_spec(threads: str, **definitions: Any) -> Subject:
    """Return the WfSpec of these ThreadSpecs, the first of which is the entrypoint."""
    read = yaml.safe_load(threads)
    spec = {"name": "small", "entrypoint": next(iter(read)), "threads": read}
    return subject_in({**definitions, "wf_specs": [spec]})


def search_of(subject: Subject, bounds: Bounds, claims: str = "") -> Search:
    """Return a search of a WfSpec, with claims if a document of them is given."""
    claimed, given = Claims(), Given()
    if claims:
        claimed, given, problems = read_claims(yaml.safe_load(claims), subject)
        assert not problems, problems
    return Search(subject, samples_of(subject.spec, subject.context.definitions, given), bounds, claimed)

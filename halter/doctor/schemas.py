"""Says which release has written the newest records of the outputs, and whether this one can read them."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from importlib.metadata import version
from typing import Final

from halter import DISTRIBUTION
from halter.doctor.cluster import Cluster
from halter.doctor.findings import Finding, Skip, Verdict, listed
from processors.codec import Schemas
from processors.codec.errors import NotSingleObject, UnknownSchema
from processors.codec.registry import RegistryUnavailable

THIS: Final = "this version"
LAST: Final = 5
"""Offsets before the end of a partition that are looked at. The last may be marks of transactions."""


def schemas(cluster: Cluster) -> Iterator[Finding]:
    """Look at the newest record of each partition of the outputs."""
    topics, codec = cluster.topics, cluster.settings.codec()
    newest = {
        place: message.value() or b""
        for topic in (topics.wf_events, topics.wf_runs, topics.definitions)
        for place, message in cluster.newest(topic, LAST).items()
    }
    if not newest:
        raise Skip("no record has been written yet")
    releases: Counter[str] = Counter()
    unknown: dict[str, list[str]] = defaultdict(list)
    for (topic, number), data in newest.items():
        try:
            folder = codec.framing.schema(data).folder
        except (UnknownSchema, NotSingleObject) as error:
            unknown[str(error)].append(f"{topic}[{number}]")
        except RegistryUnavailable as error:
            raise Skip(f"the Schema Registry is needed to tell: {error}") from error
        else:
            releases[folder.partition("/")[2] or THIS] += 1
    for sentence, at in unknown.items():
        yield Finding(
            Verdict.WRONG,
            f"{listed(at)}: {sentence}",
            "a newer release writes here: upgrade this one; or name the Schema Registry (KAFKA_SCHEMA_REGISTRY_URL)",
        )
    if releases:
        told = ", ".join(f"{count} with those of {_named(release)}" for release, count in releases.most_common())
        yield Finding(
            Verdict.FINE,
            f"the newest records of {len(newest)} partitions are written with schemas that are known: {told}",
            data={"releases": dict(releases)},
        )


def _named(release: str) -> str:
    """Return a release as sentences name it. A build between two releases has the number of the one before it."""
    if release != THIS:
        return f"the release {release}"
    number = version(DISTRIBUTION)
    return (
        f"this version, newer than the release {number}"
        if number in Schemas.load().versions
        else f"this version, {number}"
    )

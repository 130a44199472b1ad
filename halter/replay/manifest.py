"""Which replay a prefix has, and how far it is. Both are JSON on the topic `PREFIXreplay`.

The manifest is written before anything else. The progress of a partition is written in the transaction that made it, so
a replay that was killed goes on behind what it has written.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from halter.history.verifying import Within
from processors.core.records.errors import HalterError
from processors.core.rules.versions import RULES

FORM: Final = 1
TOPIC: Final = "replay"
"""The name of the topic, without the prefix."""
MANIFEST_KEY: Final = b"manifest"
DEFINITIONS_KEY: Final = b"definitions"


class NotAManifest(HalterError):
    """A topic has no manifest of a replay that this version reads. Whoever runs the replay takes another prefix."""


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for. Bounds are texts, None for the beginning and the end."""

    start: str | None
    end: str | None
    partitions: tuple[int, ...]
    wf_runs: tuple[str, ...] = ()
    """The WfRuns to replay; none: all."""
    what_is_left: bool = False

    def __str__(self) -> str:
        """Return it in words."""
        parts = [
            f"from {self.start or 'the beginning'} to {self.end or 'the end'}",
            f"of partition{'s' if len(self.partitions) > 1 else ''} {', '.join(map(str, self.partitions))}",
            f"WfRuns {', '.join(self.wf_runs)}" if self.wf_runs else "",
            "of what is left" if self.what_is_left else "",
        ]
        return ", ".join(filter(None, parts))


@dataclass(frozen=True, slots=True)
class Manifest:
    """A replay: what was asked for, of which source, and which parts of the logs that meant at the time."""

    source_prefix: str
    log_id: str
    """The id that Kafka gave to the log of the source: one that is made anew has another."""
    request: Request
    ranges: dict[int, Within]
    log_begins: dict[int, int] = field(default_factory=dict)
    """Partition -> the first offset of the log that was there at the time."""
    queues: tuple[str, ...] = ()
    """The task queues of the source, as its topics and TaskDefs name them."""
    rules: int = RULES
    """The version of the rules that decides again. Another one does not go on with it."""
    is_going: bool = False
    """True once its topics are being removed: some may be gone, so nobody goes on with it."""

    def encoded(self) -> bytes:
        """Return it as JSON."""
        return json.dumps({"form": FORM, **asdict(self)}, sort_keys=True).encode()


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a partition is replayed, and what was written of it."""

    has_state: bool = False
    """True if the rows of the state before the range are written."""
    after: str | None = None
    """The last input of which everything is written."""
    done: bool = False
    inputs: int = 0
    events: int = 0
    task_requests: int = 0
    dead_letters: int = 0
    rows: int = 0
    same: int = 0
    """The number of events that are as they were recorded, once it is done; the next two likewise."""
    different: int = 0
    """The number of WfRuns in which something was decided otherwise than recorded."""
    for_instance: list[str] = field(default_factory=list)
    """Some of them."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Why WfRuns were not replayed, or not to their end -> their number."""
    task_cancellations: int = 0

    def encoded(self) -> bytes:
        """Return it as JSON."""
        return json.dumps(asdict(self), sort_keys=True).encode()


def added_up(progress: Iterable[Progress]) -> Progress:
    """Return the counts of all partitions together."""
    total = Progress()
    for it in progress:
        left_out = {
            why: total.left_out.get(why, 0) + it.left_out.get(why, 0) for why in {**total.left_out, **it.left_out}
        }
        total = Progress(
            inputs=total.inputs + it.inputs,
            events=total.events + it.events,
            task_requests=total.task_requests + it.task_requests,
            dead_letters=total.dead_letters + it.dead_letters,
            rows=total.rows + it.rows,
            same=total.same + it.same,
            different=total.different + it.different,
            for_instance=total.for_instance + it.for_instance,
            left_out=left_out,
            task_cancellations=total.task_cancellations + it.task_cancellations,
        )
    return total


def manifest_of(value: bytes, topic: str) -> Manifest:
    """Read a manifest. Raises NotAManifest."""
    try:
        data: dict[str, Any] = json.loads(value)
        if data["form"] != FORM:
            raise NotAManifest(f"topic '{topic}': expected a replay of form {FORM}, found {data['form']!r}")
        request = Request(**data["request"])
        return Manifest(
            data["source_prefix"],
            data["log_id"],
            replace(request, partitions=tuple(request.partitions), wf_runs=tuple(request.wf_runs)),
            {int(partition): Within(*bounds) for partition, bounds in data["ranges"].items()},
            {int(partition): int(begin) for partition, begin in data["log_begins"].items()},
            tuple(map(str, data["queues"])),
            int(data["rules"]),
            bool(data.get("is_going")),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotAManifest(f"topic '{topic}': expected the manifest of a replay, found something else") from error


def progress_key(partition: int) -> bytes:
    """Return the key of a partition's progress."""
    return f"partition/{partition}".encode()


def progress_of(value: bytes) -> Progress:
    """Read a progress."""
    return Progress(**json.loads(value))

"""A bulk job: what it does, to which WfRuns, and by which ids it is known again. Pure: knows no Kafka.

The id of a job begins with the time at which it began, and has a digest of what it does to which WfRuns. The job is
about the WfRuns that were started before then and for which its filter holds when they are read. The id of each
command follows from the ids of the job and of the WfRun: what was done before is not done again, for a WfRun refuses a
command id that it has had, and whoever runs the job anew passes over what the filter no longer means.
"""

import hashlib
import json
import re
import secrets
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from halter.client.ids import same_id
from halter.view.filters import WfRunFilter
from processors.core.records.errors import HalterError
from processors.core.records.names import NAME_LENGTH_MAX

JOB_ID: Final = re.compile(r"(\d{8}T\d{9})-([0-9a-f]{8})-([0-9a-f]{6})")
"""`20261130T154500123-9b2cd41f-3fa9c1`: when it began, in UTC to the millisecond, a digest, and something random."""


class BadJob(HalterError):
    """An id is not that of a bulk job, or a job cannot be run so. Whoever started it does what the sentence says."""


class Action(StrEnum):
    """The command that each WfRun gets."""

    STOP = "stop"
    RESUME = "resume"
    RESCUE = "rescue"
    DELETE = "delete"
    FORK = "fork"


@dataclass(frozen=True, slots=True)
class Job:
    """A bulk job."""

    id: str
    action: Action
    asked: WfRunFilter
    operator: str | None = None
    reason: str | None = None

    @property
    def began_ms(self) -> int:
        """When it began, in milliseconds since 1970."""
        return began_ms(self.id)

    @property
    def filter(self) -> WfRunFilter:
        """The WfRuns that it is about: those that are asked for and had been started when it began."""
        before = self.began_ms
        if self.asked.started_before_ms is not None:
            before = min(before, self.asked.started_before_ms)
        return replace(self.asked, started_before_ms=before)

    def command_id(self, wf_run_id: str, incarnation: int, thread: int = 0) -> str:
        """Return the id of the command to a thread of a WfRun, the same whenever the job is run."""
        return same_id("bulk", self.id, self.action, wf_run_id, incarnation, thread)

    def fork_id(self, wf_run_id: str) -> str:
        """Return the id of the fork of a WfRun. Raises BadJob if it would be too long."""
        made = f"{wf_run_id}-{self.id.rpartition('-')[2]}"
        if len(made) > NAME_LENGTH_MAX:
            raise BadJob(
                f"expected an id of at most {NAME_LENGTH_MAX} characters for the fork, found that '{made[:40]}…' has "
                f"{len(made)}"
            )
        return made


def new_job_id(now_ms: int, action: Action, asked: WfRunFilter, at: str | None = None) -> str:
    """Return the id of a job that begins now. `at`: the moment from which forks go on."""
    moment = datetime.fromtimestamp(now_ms // 1_000, UTC)
    return f"{moment:%Y%m%dT%H%M%S}{now_ms % 1_000:03d}-{_digest(action, asked, at)}-{secrets.token_hex(3)}"


def expect_same_job(job_id: str, action: Action, asked: WfRunFilter, at: str | None = None) -> None:
    """Raise BadJob unless a job with this id does just this."""
    began_ms(job_id)
    if job_id.split("-")[1] != _digest(action, asked, at):
        raise BadJob(
            f"--job: {job_id} was begun with another ACTION, other filters or another --at, and goes on with the same "
            "alone: use the command that it has printed"
        )


def _digest(action: Action, asked: WfRunFilter, at: str | None) -> str:
    does = json.dumps([action.value, sorted(asked.pairs()), at])
    return hashlib.sha256(does.encode()).hexdigest()[:8]


def began_ms(job_id: str) -> int:
    """Return when a job began. Raises BadJob if that is no id of one."""
    found = JOB_ID.fullmatch(job_id)
    try:
        moment = datetime.strptime(found[1][:-3] if found else "", "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        raise BadJob(
            "--job: expected the id that a bulk job has printed, such as 20261130T154500123-9b2cd41f-3fa9c1, found "
            f"'{job_id[:60]}'"
        ) from None
    assert found is not None
    return int(moment.timestamp()) * 1_000 + int(found[1][-3:])

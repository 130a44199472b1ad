"""A record that names a definition which a worker does not know is marked as it is read: the worker then looks for it.

How it looks is shown with Kafka, in tests/broker/test_runtime.py.
"""

from dataclasses import replace

import pytest

from processors.core.records.commands import (
    Command,
    CorrelatedEvent,
    ExternalEvent,
    ForkWfRun,
    MigrateWfRun,
    RunWf,
    RunWfAndPost,
    StopWfRun,
)
from processors.core.records.model import WfSpecId
from processors.core.rules.snapshots import snapshot_of
from processors.fold import shard_fold
from tests.fold.test_hostile import rig_with
from tests.support.shard_rig import ShardRig


def rig_at_work() -> ShardRig:
    rig = rig_with()
    rig.turn(RunWf("w", "s"))
    return rig


STATE = snapshot_of(rig_at_work().shard.wf_runs["w"])
OF_ANOTHER = replace(STATE, wf_spec=WfSpecId("other", 0, 0))
UNKNOWN = [
    RunWf("new", "other"),
    RunWf("new", "s", wf_spec_major=1),
    RunWf("new", "s", wf_spec_major=0, wf_spec_revision=1),
    RunWfAndPost("new", "other", "go", "1"),
    RunWfAndPost("new", "s", "other", "1"),
    ExternalEvent("w", "other", "1"),
    CorrelatedEvent("key", "other", "1"),
    ForkWfRun("new", OF_ANOTHER),
    ForkWfRun("new", STATE, wf_spec_major=1),
    ForkWfRun("new", STATE, wf_spec_major=0, wf_spec_revision=1),
    MigrateWfRun("w", 1),
]
KNOWN = [
    RunWf("new", "s"),
    RunWf("new", "s", wf_spec_major=0),
    RunWf("new", "s", wf_spec_major=0, wf_spec_revision=0),
    RunWfAndPost("new", "s", "go", "1"),
    ExternalEvent("w", "go", "1"),
    CorrelatedEvent("key", "go", "1"),
    ForkWfRun("new", STATE),
    StopWfRun("w"),
]


# (rule unknown-definitions-looked-for)
@pytest.mark.parametrize("command", UNKNOWN, ids=repr)
def test_what_would_be_refused_for_a_definition_is_looked_for(command: Command | CorrelatedEvent) -> None:
    rig = rig_at_work()
    record = rig.command(command)
    assert rig.shard.read(record).may_lack_definition
    rig.shard.fold(rig.shard.read(record))
    told = [rig.codec.decode(it.value or b"") for it in rig.shard.take_outputs(rows=False)]
    assert any("there is no" in str(it) for it in told)


@pytest.mark.parametrize("command", KNOWN, ids=repr)
def test_nothing_is_looked_for_where_all_names_are_known(command: Command | CorrelatedEvent) -> None:
    rig = rig_at_work()
    assert not rig.shard.read(rig.command(command)).may_lack_definition


def test_every_command_that_tells_what_its_producer_saw_is_tried_here() -> None:
    assert {type(it) for it in UNKNOWN} == {*shard_fold._TELL_WHAT_WAS_SEEN}

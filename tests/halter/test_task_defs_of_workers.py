"""A task worker starts if its handlers fit the TaskDefs that are registered, or did when they were deployed."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from structlog import get_logger
from structlog.testing import capture_logs

from halter.task_worker import WorkerNotStarted
from halter.task_worker.handlers import typed
from halter.task_worker.task_defs import check_task_defs
from processors.core.records.commands import DefinitionCommand, DefinitionKind, DeleteDefinition, PutTaskDef
from processors.core.records.values import VariableType
from tests.support.shard_rig import ShardRig
from tests.support.stored_records import RigClient

INT, DOUBLE, STR = VariableType.INT, VariableType.DOUBLE, VariableType.STR


def price(cents: int) -> float:
    return cents / 100


def whole_price(cents: int) -> int:
    return cents // 100


def checked(handler: Callable[..., Any], *commands: DefinitionCommand, queue: str | None = None) -> list[str]:
    """Return the warnings of a task worker that starts after these commands."""
    client = RigClient(ShardRig(queues=["slow"]))
    client.topics = replace(client.topics, task_queues={"slow": "task-requests-slow"})
    for command in commands:
        client.rig.turn(command)
    topic = "task-requests" if queue is None else client.topics.task_queues[queue]
    with capture_logs() as logs:
        check_task_defs(client, [typed("price", handler)], topic, get_logger())  # type: ignore[arg-type]
    assert {it["log_level"] for it in logs} <= {"warning"}
    return [it["event"] for it in logs]


def put(output: VariableType | None = None, queue: str | None = None, **inputs: VariableType) -> PutTaskDef:
    return PutTaskDef("price", inputs, output, queue, optional=[it for it in inputs if it != "cents"])


def test_a_handler_that_fits_the_newest_revision_starts_without_a_word() -> None:
    assert checked(whole_price, put(DOUBLE, cents=INT), put(INT, cents=INT)) == []


def test_a_handler_starts_again_after_its_task_def_got_an_optional_input() -> None:
    assert checked(price, put(DOUBLE, cents=INT), put(DOUBLE, cents=INT, note=STR)) == []


def test_a_handler_whose_output_was_that_of_an_earlier_revision_is_warned_and_starts() -> None:
    assert checked(price, put(DOUBLE, cents=INT), put(INT, cents=INT)) == ["task_def_changed"]


def test_a_handler_that_fits_no_revision_does_not_start() -> None:
    def text(cents: int) -> str:
        return str(cents)

    with pytest.raises(WorkerNotStarted, match="returns str: expected INT, the output of the TaskDef"):
        checked(text, put(DOUBLE, cents=INT), put(INT, cents=INT))
    with pytest.raises(WorkerNotStarted, match="returns str: expected INT"):
        checked(text, put(cents=INT), put(INT, cents=INT))


def test_the_task_workers_of_both_queues_start_after_a_task_def_has_moved() -> None:
    moved = put(cents=INT), put(None, "slow", cents=INT)
    assert checked(price, *moved) == ["task_def_moved"]
    assert checked(price, *moved, queue="slow") == []
    with pytest.raises(
        WorkerNotStarted, match="expected a task worker of 'task-requests', found one of 'task-requests-slow'"
    ):
        checked(price, put(cents=INT), queue="slow")


def test_the_attempts_of_a_deleted_task_def_are_done_to_the_end() -> None:
    delete = DeleteDefinition(DefinitionKind.TASK_DEF, "price")
    assert checked(price, put(cents=INT), delete) == ["task_def_is_deleted"]
    with pytest.raises(
        WorkerNotStarted, match=r"expected a TaskDef of this name, found none: register it before \(`halter spec put"
    ):
        checked(price)

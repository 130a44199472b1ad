"""Tests of the token with its real task functions, in memory: `pytest` in this folder (docs/testing.md).

The clock is virtual, so half an hour takes no time.
"""

from datetime import datetime, timedelta

from tasks import valid, worker

from halter import Timestamp
from halter.events import InterruptSuperseded
from halter.testing import MakeEnv, WorkflowEnv

IDLE = timedelta(minutes=30)


def at(moment: datetime) -> Timestamp:
    """Return a moment as a value of the workflow."""
    return Timestamp(round(moment.timestamp() * 1000))


def signed_in(workflow_env: MakeEnv) -> WorkflowEnv:
    """Return an environment in which Ann has just been given a token."""
    env = workflow_env("token.yaml", tasks=worker)
    env.run("token", {"user": "Ann", "seen": at(env.now)}, wf_run_id="ann")
    return env


def test_a_token_is_revoked_half_an_hour_after_its_user_signed_in(workflow_env: MakeEnv) -> None:
    env = signed_in(workflow_env)
    began = env.now
    (token,) = valid
    assert env.run_until_ended("ann").status == "COMPLETED"
    assert env.now - began == IDLE
    assert [it.input for it in env.attempts_of("revoke-token")] == [{"token": token}]
    assert valid == set()


def test_each_heartbeat_puts_the_end_off(workflow_env: MakeEnv) -> None:
    env = signed_in(workflow_env)
    for _ in range(10):
        env.pass_time(minutes=20)
        env.post("ann", "heartbeat", at(env.now))
    last = env.now
    env.run_until_ended("ann")
    assert env.now - last == IDLE


def test_a_heartbeat_that_was_overtaken_changes_nothing(workflow_env: MakeEnv) -> None:
    env = signed_in(workflow_env)
    env.pass_time(minutes=20)
    last = env.now
    env.post("ann", "heartbeat", at(last))
    env.post("ann", "heartbeat", at(last - timedelta(minutes=15)))
    env.run_until_ended("ann")
    assert env.now - last == IDLE


def test_of_the_heartbeats_that_wait_for_a_task_only_the_newest_is_handled(workflow_env: MakeEnv) -> None:
    env = workflow_env("token.yaml", tasks=worker)
    with env.held("issue-token"):
        env.run("token", {"user": "Ann", "seen": at(env.now)}, wf_run_id="ann")
        for _ in range(5):
            env.pass_time(seconds=1)
            env.post("ann", "heartbeat", at(env.now))
    assert len(env.events("ann", InterruptSuperseded)) == 4
    assert len(env.wf_run("ann").threads) == 2  # the token, and one handler

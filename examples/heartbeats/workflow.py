"""A token that is revoked when no heartbeat has come for a while: the definitions and
the WfSpec of token.yaml, written in Python.

halter spec put workflow.py:workflow
"""

from datetime import datetime

from halter import Workflow
from halter.workflow import ExternalEventDef, TaskDef, Thread, Variable

heartbeat = ExternalEventDef("heartbeat", datetime)  # when the user was last active

issue_token = TaskDef("issue-token", {"user": str}, str)
revoke_token = TaskDef("revoke-token", {"token": str})

user = Variable("user", str, required=True)
seen = Variable("seen", datetime, required=True)
idle_ms = Variable("idle_ms", int, default=1_800_000)
until = Variable("until", datetime)
token = Variable("token", str, masked=True)


def main(thread: Thread) -> None:
    """Issue a token, and revoke it when its user has been idle for too long."""
    thread.declare(user, seen, idle_ms, until, token)
    # While a task is out, heartbeats wait. Only the newest of them matters.
    thread.interrupt(heartbeat, note_heartbeat, policy="latest")
    thread.assign(token, thread.task(issue_token, user=user, name="issue"))
    thread.assign(until, seen + idle_ms)
    thread.sleep_until(until, name="sleep")
    # A SLEEP ends when it was to end, whatever happens meanwhile. If there was a heartbeat, sleep on to the new time.
    with thread.while_(seen + idle_ms > until):
        thread.assign(until, seen + idle_ms)
        thread.sleep_until(until, name="sleep-on")
    thread.task(revoke_token, token=token, name="revoke")
    thread.exit(name="revoked")


def note_heartbeat(thread: Thread) -> None:
    """Note when the user was active. A heartbeat that was overtaken on its way changes nothing."""
    at = thread.input(datetime)
    with thread.if_(at > seen):
        thread.assign(seen, at)
    thread.exit(name="noted")


workflow = Workflow("token", main)

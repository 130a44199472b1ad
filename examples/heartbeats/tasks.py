"""The task worker of the token: it issues tokens and revokes them.

    halter task-worker tasks:worker

in this folder, or `python tasks.py`. Kafka is at KAFKA_BOOTSTRAP_SERVERS, else at localhost:9092.
"""

import sys

from halter import HalterError, Task, TaskWorker

worker = TaskWorker()
valid: set[str] = set()


@worker.task("issue-token")
def issue_token(user: str, task: Task) -> str:
    """Return a token for the user. An attempt that is run twice issues the same one."""
    token = f"{user}-{task.idempotency_key}"
    valid.add(token)
    return token


@worker.task("revoke-token")
def revoke_token(token: str) -> None:
    """Make the token invalid. One that is invalid already is no mistake."""
    valid.discard(token)


if __name__ == "__main__":
    try:
        worker.run()
    except HalterError as error:
        sys.exit(f"halter: {error}")

"""Whether the other members of the group have handlers for the same tasks.

A group shares the requests of a queue among its members, and a member passes over those for which it has no handler:
then the attempt waits until it times out. So the client id of a task worker tells its tasks from others, and it looks
at the ids of the others whenever the group has shared out the partitions. While a release with another task is rolled
out, the warning is true as well.

Asks in a thread of its own. If Kafka does not tell, nothing is said.
"""

import threading
from typing import Any, Final

from halter.client.workers import WITHOUT_HANDLER, Workers

WAY_OUT: Final = f"{WITHOUT_HANDLER}: give those that have other tasks a group of their own, TaskWorker(group=...)"


class OtherMembers:
    """The others in the group of a task worker."""

    def __init__(self, workers: Workers, group: str, queue: str, own: str, log: Any) -> None:
        """`queue` is a topic, `own` the client id of this task worker."""
        self._workers, self._group, self._queue, self._own, self._log = workers, group, queue, own, log
        self._told: set[str] = set()

    def look(self) -> None:
        """Warn if there are others with other handlers. Never waits."""
        threading.Thread(target=self._look, name="group-members", daemon=True).start()

    def _look(self) -> None:
        others = self._workers.task_workers(self._group, self._queue) - {self._own}
        if others - self._told:
            self._told |= others
            self._log.warning("other_tasks_in_group", group=self._group, members=sorted(others), then=WAY_OUT)

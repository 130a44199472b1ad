"""Rules of the ready file."""

import json
from pathlib import Path

from processors.runtime.group.readiness import Readiness, State
from processors.worker.ready_file import ReadyFile


def test_a_ready_file_is_there_while_the_worker_is_ready(tmp_path: Path) -> None:
    path = tmp_path / "ready"
    path.write_text("left by a worker that was killed", encoding="utf-8")
    ready_file = ReadyFile(path)
    assert not path.exists()
    readiness = Readiness(lambda snapshot: ready_file.write(snapshot.as_dict()))
    readiness.lives(State.FOLDING)
    assert json.loads(path.read_text(encoding="utf-8"))["state"] == "folding"
    readiness.owns((1, 2), {3: 0.5})
    assert not path.exists()
    readiness.owns((1, 2, 3), {})
    assert json.loads(path.read_text(encoding="utf-8"))["shards"] == [1, 2, 3]
    readiness.waits_for_kafka(True)
    assert not path.exists()

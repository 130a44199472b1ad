"""Rules of the metrics of a worker."""

import re
from pathlib import Path

from processors.runtime.group.readiness import Readiness, Snapshot, State
from processors.worker.metrics import Metrics

OPERATIONS = Path(__file__).resolve().parents[2] / "docs" / "operations.md"


def test_metrics_say_for_each_partition_whether_it_is_paused_and_how_many_wf_runs_are_in_quarantine() -> None:
    readiness = Readiness()
    readiness.lives(State.FOLDING)
    readiness.owns((1, 2), {5: 0.5})
    readiness.pauses({2: "a rule broke"})
    readiness.note_quarantined({1: 3})
    lines = Metrics(lambda: readiness.snapshot).text().decode().splitlines()
    samples = [line for line in lines if not line.startswith("#")]
    assert samples == [
        "halter_ready 0.0",
        'halter_partition_restoring{partition="1"} 0.0',
        'halter_partition_restoring{partition="2"} 0.0',
        'halter_partition_restoring{partition="5"} 1.0',
        'halter_partition_paused{partition="1"} 0.0',
        'halter_partition_paused{partition="2"} 1.0',
        'halter_partition_paused{partition="5"} 0.0',
        'halter_quarantined_wf_runs{partition="1"} 3.0',
        'halter_quarantined_wf_runs{partition="2"} 0.0',
    ]


def test_metrics_are_gauges_of_ours_alone_and_the_manual_lists_each() -> None:
    text = Metrics(Snapshot).text().decode()
    names = re.findall(r"^# HELP (\S+) \S", text, re.MULTILINE)
    assert re.findall(r"^# TYPE (\S+) gauge$", text, re.MULTILINE) == names
    listed = re.findall(r"^\| `(halter_\w+)` \|", OPERATIONS.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(names)

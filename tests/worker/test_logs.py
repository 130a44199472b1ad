"""Rules of the log of a worker."""

import json
import re
import subprocess
import sys


def test_the_log_is_one_json_object_per_line_on_stderr_also_for_libraries() -> None:
    code = """
import logging, structlog
from processors.worker.logs import configure_logging
configure_logging("json", "info", worker="slot-1")
structlog.get_logger("halter.test").info("restored", rows=3)
logging.getLogger("some.library").warning("it %s", "happened")
logging.getLogger("some.library").info("not worth a line")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(line["event"], line["level"], line["worker"]) for line in lines] == [
        ("restored", "info", "slot-1"),
        ("it happened", "warning", "slot-1"),
    ]
    assert lines[0]["rows"] == 3
    for line in lines:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["timestamp"])

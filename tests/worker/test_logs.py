"""Rules of the log of a worker."""

import json
import re
import subprocess
import sys

import pytest


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


FAILING = """
import logging, sys, structlog
from processors.worker.logs import configure_logging
configure_logging(sys.argv[1], "info")
def fail(authorization):
    raise ValueError("no answer")
for log in (logging.getLogger("some.library"), structlog.get_logger("halter.test")):
    try:
        fail("Bearer " + "-".join(["the", "secret"]))
    except ValueError as error:
        log.error("it failed", exc_info=error)
"""


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_a_traceback_has_no_values_of_variables(log_format: str) -> None:
    done = subprocess.run([sys.executable, "-c", FAILING, log_format], capture_output=True, text=True, check=True)
    assert "the-secret" not in done.stderr
    assert done.stderr.count("Traceback (most recent call last)") == 2
    assert done.stderr.count("ValueError: no answer") == 2


HOSTILE = r"""
import logging, sys, structlog
from processors.worker.logs import configure_logging
configure_logging(sys.argv[1], "info")
text = "\x1b]0;pwned\x07\x9b2J\u202e"
structlog.get_logger("halter.test").error(text, path=text, exc_info=ValueError(text))
logging.getLogger("some.library").error(text, exc_info=ValueError(text))
"""


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_what_others_wrote_gives_a_terminal_no_orders(log_format: str) -> None:
    done = subprocess.run([sys.executable, "-c", HOSTILE, log_format], capture_output=True, check=True)
    lines = done.stderr.decode("utf-8").splitlines()
    assert all(line.isprintable() for line in lines), lines
    assert done.stderr.count(rb"\x1b]0;pwned\x07" if log_format == "console" else b"]0;pwned") == 5

"""Counts the instructions of Python's virtual machine: the same on every machine and at every load.

For one minor version of Python; blind to what a call into C costs, which has to be timed beside it.
"""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def bytecodes(what: Callable[[], object]) -> int:
    """Instructions that a call takes, with all that it calls."""
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        what()
    finally:
        sys.settrace(before)
    return count

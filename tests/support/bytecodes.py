"""Counts the instructions of Python's virtual machine: the same on every machine and at every load.

The count holds for one minor version of Python. It does not see what a call into C costs, which has to be timed too.
"""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def bytecodes(what: Callable[[], object]) -> int:
    """Return the number of instructions that a call takes, with everything that it calls."""
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

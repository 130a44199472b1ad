"""Moved to `processors.core.records.values` in 0.2.0. This name works until 0.3.0 and warns.

`halter.client` has `Value` and `Timestamp` too.
"""

import warnings

from processors.core.records.values import Timestamp, Value, VariableType

__all__ = ["Timestamp", "Value", "VariableType"]

warnings.warn(
    "processors.core.values is now processors.core.records.values, and halter.client has Value; "
    "the old name goes in 0.3.0",
    DeprecationWarning,
    stacklevel=2,
)

"""Moved to `processors.core.records.errors` in 0.2.0. This name works until 0.3.0 and warns.

`halter.client` has `HalterError` too.
"""

import warnings

from processors.core.records.errors import HalterError

__all__ = ["HalterError"]

warnings.warn(
    "processors.errors is now processors.core.records.errors, and halter.client has HalterError; "
    "the old name goes in 0.3.0",
    DeprecationWarning,
    stacklevel=2,
)

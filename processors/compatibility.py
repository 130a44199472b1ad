"""Moved to `processors.codec.compatibility` in 0.2.0. `python -m` with this name works until 0.3.0 and warns."""

import runpy
import warnings

warnings.warn(
    "processors.compatibility is now processors.codec.compatibility; the old name goes in 0.3.0",
    DeprecationWarning,
    stacklevel=1,
)

if __name__ == "__main__":
    runpy.run_module("processors.codec.compatibility", run_name="__main__")

"""`record`, the decorator by which the core declares values that never change once they are made."""

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

COMPILED = False
"""True for mypyc, which reads this module when it compiles the core (hatch_build.py). False in everything that runs."""

if COMPILED:
    # mypyc makes native classes of dataclasses, which it knows by the very name of their decorator.
    from dataclasses import dataclass as record
else:
    Made = TypeVar("Made")

    @dataclass_transform(frozen_default=True, field_specifiers=(field,))
    def record(made: type[Made]) -> type[Made]:
        """Make a dataclass with slots that compares and hashes by its fields; its fields are never assigned again.

        mypy takes the class for frozen and refuses assignments; nothing refuses them at run time. An interrupt makes
        about thirty of these, and a frozen dataclass takes three times as long to make: a tenth of bench/fold.py.
        """
        return dataclass(slots=True, unsafe_hash=True)(made)

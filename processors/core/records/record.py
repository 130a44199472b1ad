"""`record`: how the core declares values that never change once they are made."""

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

COMPILED = False
"""What mypyc reads takes this for True (hatch_build.py); what runs never does."""

if COMPILED:
    # mypyc makes native classes of dataclasses, which it knows by the very name of their decorator.
    from dataclasses import dataclass as record
else:
    Made = TypeVar("Made")

    @dataclass_transform(frozen_default=True, field_specifiers=(field,))
    def record(made: type[Made]) -> type[Made]:
        """A dataclass with slots that compares and hashes by its fields, and whose fields are never assigned again.

        That nobody assigns to them is checked by mypy, which takes it for frozen, and not while it runs: an interrupt
        makes about thirty of these, and a frozen dataclass takes three times as long to make: a tenth of bench/fold.py.
        """
        return dataclass(slots=True, unsafe_hash=True)(made)

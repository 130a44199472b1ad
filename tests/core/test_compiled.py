"""The core that is tested is the one that was asked for: `make compiled` tests the modules that mypyc has compiled.

It leaves out `test_search_finds.py`, which breaks the engine from outside: compiled modules do not let that happen. It
also leaves out tests that make up records by the types of their fields (`support/records.py`): compiled modules do not
have those types.
"""

import importlib
from pathlib import Path

import pytest

import processors
from hatch_build import COMPILED
from processors.codec import Schemas
from processors.codec.encoder_module import compiled_encoders
from tests.support.compiled_core import IS_COMPILED

ROOT = Path(processors.__file__).resolve().parent.parent
"""The checkout, or where the wheel is installed."""
MODULES = sorted(
    str(path.relative_to(ROOT).with_suffix("")).replace("/", ".").removesuffix(".__init__")
    for pattern in COMPILED
    for path in ROOT.glob(pattern)
)


@pytest.mark.parametrize("module", MODULES)
def test_the_core_is_the_one_that_was_asked_for(module: str) -> None:
    file = importlib.import_module(module).__file__ or ""
    assert file.endswith(".py") is (not IS_COMPILED)


def test_the_encoders_of_the_log_are_compiled_with_the_core_from_the_schemas_that_it_has() -> None:
    assert (compiled_encoders(Schemas.load().names) is not None) is IS_COMPILED


def test_every_pattern_of_what_is_compiled_finds_something() -> None:
    assert all(list(ROOT.glob(pattern)) for pattern in COMPILED)

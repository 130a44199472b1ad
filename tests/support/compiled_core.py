"""Tells the tests whether they test the core as compiled by mypyc (`make compiled`)."""

import os
from typing import Final

import pytest

IS_COMPILED: Final = os.environ.get("HALTER_CORE") == "compiled"

replaces_a_rule = pytest.mark.skipif(IS_COMPILED, reason="rules that are compiled call one another directly")
"""Marks a test that replaces a rule by another."""

"""Tells the tests whether they test the core as compiled by mypyc (`make compiled`)."""

import os
from typing import Final

import pytest

IS_COMPILED: Final = os.environ.get("HALTER_CORE") == "compiled"

replaces_a_rule = pytest.mark.skipif(IS_COMPILED, reason="rules that are compiled call one another directly")
"""Marks a test that replaces a rule, or what belongs to it, by another."""
fills_records_with_anything = pytest.mark.skipif(IS_COMPILED, reason="compiled records take values of their types only")
reads_types_of_fields = pytest.mark.skipif(IS_COMPILED, reason="compiled records do not tell the types of their fields")

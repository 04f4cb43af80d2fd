"""Masks know how a shell spells a value."""

from __future__ import annotations

import subprocess

import pytest

from pyro_mcp.masking.redaction import Redactor
from pyro_mcp.masking.substitution import Substitution
from tests.unit.test_redaction import SHORT


@pytest.mark.parametrize("value", SHORT)
def test_a_value_that_bash_has_quoted_is_masked(value: str) -> None:
    argv = ["bash", "-c", 'printf %q "$1"', "-", value]
    spelled = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    redactor = Redactor([value])
    if not spelled.startswith("$'"):
        assert "*" * len(spelled.encode()) in redactor.text(f"<{spelled}>"), spelled
    assert Substitution({"PH": value}).redact(spelled.encode()) == redactor.data(spelled.encode())

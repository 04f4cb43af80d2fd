"""What this computer refuses is not blamed on a path or a caller."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pyro_mcp.errors import InvalidInput, PyroError
from pyro_mcp.host_errors import blamed_rightly


def _refused(number: int) -> PyroError:
    try:
        try:
            raise OSError(number, os.strerror(number), "/a/seed")
        except OSError:
            raise InvalidInput("`/a/seed` cannot be read.", code="seed_unreadable") from None
    except InvalidInput as error:
        return error


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.EMFILE, "out_of_descriptors"),
        (errno.ENFILE, "out_of_descriptors"),
        (errno.ENOMEM, "out_of_memory"),
        (errno.EACCES, "seed_unreadable"),
        (errno.ENOSPC, "seed_unreadable"),
    ],
)
def test_no_descriptors_or_memory_is_said_and_every_other_cause_is_left_to_who_knows_it(number: int, code: str) -> None:
    assert blamed_rightly(_refused(number), Path("/state")).code == code

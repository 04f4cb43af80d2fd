"""The bounds of labels."""

from __future__ import annotations

import re

from pyro_mcp.errors import InvalidInput
from pyro_mcp.models import NAME_PATTERN

MAX_LABELS = 64
MAX_VALUE = 256
_KEY = re.compile(NAME_PATTERN)


def checked_labels(labels: dict[str, str]) -> dict[str, str]:
    """The labels.

    Raises:
        InvalidInput: more than 64, a key that is not a name, or a value over 256 characters.
    """
    if len(labels) > MAX_LABELS:
        raise InvalidInput(f"{len(labels)} labels are too many; the limit is {MAX_LABELS}.", code="too_many_labels")
    for key, value in labels.items():
        if not _KEY.match(key):
            raise InvalidInput(
                f"The label key {key!r} is not a name: letters, digits, `.`, `_`, `-`, at most 64, "
                "beginning with a letter or digit.",
                code="bad_label",
            )
        if len(value) > MAX_VALUE or not value.isprintable():
            raise InvalidInput(
                f"The value of label {key!r} must be printable and at most {MAX_VALUE} characters long.",
                code="bad_label",
            )
    return labels

"""What both engines' records of a machine share: how one is written and read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pyro_mcp import wholeness

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

RECORD = "machine.json"
T = TypeVar("T")


def write_record(record: DataclassInstance, directory: Path) -> None:
    """Put the record into the machine's directory, whole or not at all."""
    wholeness.write_new(directory / RECORD, json.dumps(asdict(record)).encode())


def read_record(directory: Path, made: Callable[[dict[str, Any]], T]) -> T | None:
    """The record, or None when the machine was not finished or the file is damaged."""
    try:
        return made(wholeness.read_record(directory / RECORD))
    except (OSError, ValueError, KeyError, TypeError):
        return None

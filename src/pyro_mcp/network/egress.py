"""Temporary, until the proxy lands."""

from __future__ import annotations

import asyncio
from typing import Any


class EgressEvent: ...


class EgressProxy:
    def __init__(self, policy: Any, on_event: Any) -> None: ...

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None: ...

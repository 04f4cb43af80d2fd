"""The tools on the official MCP library: its low-level server, for the decorators swallow unknown arguments."""

from __future__ import annotations

import asyncio
from typing import Any

import mcp_types as types
from mcp.server.lowlevel import Server

from pyro_mcp.client.answers import Progress
from pyro_mcp.mcp.toolbox import Answer, Toolbox
from pyro_mcp.version import VERSION

NAME = "pyro"


def create_server(toolbox: Toolbox, instructions: str) -> Server[Any]:
    """A server that offers a toolbox's tools; run it over any pair of streams."""
    listed = types.ListToolsResult.model_validate({"tools": toolbox.tools})

    async def list_tools(context: Any, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return listed

    async def call_tool(context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        reporter = _Reporter(context) if (context.meta or {}).get("progress_token") is not None else None
        try:
            answer = await toolbox.call(params.name, params.arguments, reporter.hear if reporter else None)
        finally:
            if reporter is not None:
                reporter.stop()
        return shaped(answer)

    return Server(NAME, version=VERSION, instructions=instructions, on_list_tools=list_tools, on_call_tool=call_tool)


def shaped(answer: Answer) -> types.CallToolResult:
    return types.CallToolResult(
        content=[types.TextContent(text=answer.text)],
        structured_content=answer.structured,
        is_error=answer.is_error,
    )


class _Reporter:
    """Passes progress on to the host, in order; the numbers only ever grow, as the protocol wants."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self._queue: asyncio.Queue[Progress] = asyncio.Queue(maxsize=64)
        self._task = asyncio.create_task(self._send())

    def hear(self, event: Progress) -> None:
        if not self._queue.full():
            self._queue.put_nowait(event)

    def stop(self) -> None:
        self._task.cancel()

    async def _send(self) -> None:
        reached = 0.0
        while True:
            event = await self._queue.get()
            reached = max(reached + 0.0001, event.fraction or 0.0)
            await self._context.session.report_progress(
                reached, total=None if event.fraction is None else 1.0, message=event.text
            )

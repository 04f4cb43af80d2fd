"""The tools, prompts and resources on the official MCP library: its low-level server, for the decorators swallow
unknown arguments. The same server is run over standard input and output (`serve`) and over HTTP (`http`).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ResourcesListChanged, ResourceUpdated
from mcp.shared.exceptions import MCPError

from pyro_mcp.client.answers import Progress
from pyro_mcp.errors import NotFound, PyroError
from pyro_mcp.mcp import prompts, resources
from pyro_mcp.mcp.asking import Asking
from pyro_mcp.mcp.catalogue import Catalogue
from pyro_mcp.mcp.roots import Roots
from pyro_mcp.mcp.toolbox import Answer, Toolbox
from pyro_mcp.version import VERSION
from pyro_mcp.visible import shortened, storable

NAME = "pyro"
HEARTBEAT_SECONDS = 5.0
"""How often a long call says that it goes on: OpenCode's timeout starts again with each word."""
QUIET_SECONDS = 0.5
"""The least time between two words of progress, and before the first: short calls say nothing on the way."""
MAX_ADDRESS = 1024
"""Characters of a resource's address; the words that refuse one repeat no more."""
Interrupted = Callable[[Any], bool]


def server_of(
    toolbox: Toolbox,
    catalogue: Catalogue,
    *,
    roots: bool = False,
    interrupted: Interrupted = lambda context: False,
) -> Server[Any]:
    """A server that offers what the catalogue lists; run it over any pair of streams, or by its HTTP application.

    With `roots`, the one host at the other end may say which directory its project is, and puts questions to its user.
    `interrupted` tells whether a cancelled call was not cancelled by its host's wish; its command then runs on.
    """
    handlers = _Handlers(
        toolbox, catalogue, Roots(toolbox) if roots else None, Asking(toolbox) if roots else None, interrupted
    )
    offered: dict[str, Any] = {"on_list_tools": handlers.list_tools, "on_call_tool": handlers.call_tool}
    if catalogue.prompts:
        offered |= {"on_list_prompts": handlers.list_prompts, "on_get_prompt": handlers.get_prompt}
    if catalogue.templates:
        offered |= {
            "on_list_resources": handlers.list_resources,
            "on_list_resource_templates": handlers.list_resource_templates,
            "on_read_resource": handlers.read_resource,
            "on_subscriptions_listen": handlers.listen,
        }
    server: Server[Any] = Server(NAME, version=VERSION, instructions=catalogue.instructions, **offered)
    if handlers.roots is not None:
        server.add_notification_handler(
            "notifications/roots/list_changed", types.NotificationParams, handlers.roots.changed
        )
    return server


def close_subscriptions(server: Server[Any]) -> None:
    """End every subscription in good order: its last word is its result."""
    entry = server.get_request_handler("subscriptions/listen")
    if entry is not None and isinstance(entry.handler, ListenHandler):
        entry.handler.close()


class _Handlers:
    def __init__(
        self,
        toolbox: Toolbox,
        catalogue: Catalogue,
        roots: Roots | None,
        asking: Asking | None,
        interrupted: Interrupted,
    ) -> None:
        self._toolbox = toolbox
        self._interrupted = interrupted
        self._tools = types.ListToolsResult.model_validate({"tools": catalogue.tools})
        self._prompts = types.ListPromptsResult.model_validate({"prompts": catalogue.prompts})
        self._templates = types.ListResourceTemplatesResult.model_validate({"resourceTemplates": catalogue.templates})
        self._bus = InMemorySubscriptionBus()
        self.roots = roots
        self._asking = asking
        self.listen = ListenHandler(self._bus)

    # -- tools

    async def list_tools(self, context: Any, params: Any) -> types.ListToolsResult:
        return self._tools

    async def call_tool(self, context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        if self.roots is not None and self._toolbox.looks_at_host(params.name):
            await self.roots.ask(context)
        reporter = _Reporter(context) if (context.meta or {}).get("progress_token") is not None else None
        asking = self._asking.during(context, params.name) if self._asking else contextlib.nullcontext()
        try:
            async with asking:
                answer = await self._toolbox.call(
                    params.name,
                    params.arguments,
                    reporter.hear if reporter else None,
                    interrupted=lambda: self._interrupted(context),
                )
        finally:
            if reporter is not None:
                reporter.stop()
        await self._tell(params.name, answer)
        return shaped(answer)

    async def _tell(self, name: str, answer: Answer) -> None:
        """Tell those who listen what a call changed."""
        changed = self._toolbox.changes(name)
        if changed is None or answer.structured is None:
            return
        for workspace in {answer.structured.get("id"), answer.structured.get("workspace")}:
            if isinstance(workspace, str):
                await self._bus.publish(ResourceUpdated(resources.diff_address(workspace)))
        if changed == "workspaces":
            await self._bus.publish(ResourcesListChanged())

    # -- prompts

    async def list_prompts(self, context: Any, params: Any) -> types.ListPromptsResult:
        return self._prompts

    async def get_prompt(self, context: Any, params: types.GetPromptRequestParams) -> types.GetPromptResult:
        try:
            prompt, text = prompts.rendered(self._toolbox.profile, params.name, params.arguments or {})
        except PyroError as error:
            raise MCPError(types.INVALID_PARAMS, error.message) from None
        message = types.PromptMessage(role="user", content=types.TextContent(text=text))
        return types.GetPromptResult(description=prompt.description, messages=[message])

    # -- resources

    async def list_resources(self, context: Any, params: Any) -> types.ListResourcesResult:
        listed = resources.listed(await self._toolbox.workspaces())
        return types.ListResourcesResult.model_validate({"resources": listed})

    async def list_resource_templates(self, context: Any, params: Any) -> types.ListResourceTemplatesResult:
        return self._templates

    async def read_resource(self, context: Any, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        address = str(params.uri)
        found = resources.located(self._toolbox.profile, address) if len(address) <= MAX_ADDRESS else None
        address = shortened(address, MAX_ADDRESS)
        if found is None:
            raise MCPError(types.INVALID_PARAMS, f"There is no resource {address}.", {"uri": address})
        template, arguments = found
        try:
            record = await self._toolbox.carry_out(template.operation, arguments)
        except PyroError as error:
            code = types.INVALID_PARAMS if isinstance(error, NotFound) else types.INTERNAL_ERROR
            raise MCPError(code, str(error), {"uri": address}) from None
        text = storable(resources.shown(template, record))
        content = types.TextResourceContents(uri=address, mime_type=template.mime_type, text=text)
        return types.ReadResourceResult(contents=[content])


def shaped(answer: Answer) -> types.CallToolResult:
    pictures = [types.ImageContent(data=data, mime_type=kind) for kind, data in answer.pictures]
    return types.CallToolResult(
        content=[types.TextContent(text=answer.text), *pictures],
        structured_content=answer.structured,
        is_error=answer.is_error,
    )


class _Reporter:
    """Passes progress on to the host: the newest word, not too often, and a sign of life where there is none.

    The numbers only ever grow, as the protocol wants.
    """

    def __init__(self, context: Any) -> None:
        self._context = context
        self._begun = time.monotonic()
        self._newest: Progress | None = None
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._send())

    def hear(self, event: Progress) -> None:
        self._newest = event
        self._news.set()

    def stop(self) -> None:
        self._task.cancel()

    async def _send(self) -> None:
        reached, text = 0.0, ""
        while True:
            try:
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    await self._news.wait()
            except TimeoutError:
                pass
            await asyncio.sleep(QUIET_SECONDS)
            self._news.clear()
            event, self._newest = self._newest, None
            fraction = event.fraction if event is not None else None
            text = event.text if event is not None else text
            reached = max(reached + 0.0001, fraction or 0.0)
            elapsed = f"{time.monotonic() - self._begun:.0f} s"
            await self._context.session.report_progress(
                reached, total=None if fraction is None else 1.0, message=f"{text} ({elapsed})" if text else elapsed
            )

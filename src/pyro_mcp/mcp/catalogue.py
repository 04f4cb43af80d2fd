"""What the server offers and says of itself, as plain JSON: the same for the opening and for the library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pyro_mcp.mcp.access import Access
from pyro_mcp.mcp.instructions import instructions
from pyro_mcp.mcp.prompts import prompts_of
from pyro_mcp.mcp.resources import templates_of
from pyro_mcp.mcp.schema import operations_of, tool
from pyro_mcp.operations import Profile

Listed = list[dict[str, Any]]


@dataclass(frozen=True)
class Catalogue:
    """Tools, prompts and resource templates, as their lists give them."""

    instructions: str = ""
    tools: Listed | tuple[()] = ()
    prompts: Listed | tuple[()] = ()
    templates: Listed | tuple[()] = ()

    @classmethod
    def of(cls, profile: Profile, access: Access) -> Catalogue:
        return cls(
            instructions(profile, access),
            [tool(op) for op in operations_of(profile)],
            [prompt.listed() for prompt in prompts_of(profile)],
            [template.listed() for template in templates_of(profile)],
        )

    @property
    def listens(self) -> bool:
        """Whether it tells hosts of changes: of resources, so only where there are some."""
        return bool(self.templates)

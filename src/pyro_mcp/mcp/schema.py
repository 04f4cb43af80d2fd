"""The tools of a profile as plain JSON: names, descriptions, schemas, annotations. Pure and quick.

Schemas are compact, for a model reads them in every conversation: no titles, no `$defs`, no null, bounds only
in words (Codex drops the keywords), no empty fields in results.
"""

from __future__ import annotations

import types
import typing
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel

from pyro_mcp.definitions.parameter import Parameter
from pyro_mcp.operations import REGISTRY, Operation, Profile

Schema = dict[str, Any]

PROJECT_SEED = 'Directory, git tree or tar; unsaid: the project; "": nothing.'
_MEANS_ELSE = {("create_workspace", "seed_path"): PROJECT_SEED}
"""Parameters that mean something else here than in the other faces."""


def operations_of(profile: Profile) -> list[Operation]:
    """The operations of a profile, in the order in which an agent meets them."""
    chosen = [op for op in REGISTRY.values() if op.mcp is not None and profile in op.profiles]
    return sorted(chosen, key=lambda op: _PLACES.get(str(op.mcp), 2))


_PLACES = {"workspace_create": 0, "workspace_exec": 1, "env_list": 3, "vm_run": 4}


def tool(operation: Operation) -> Schema:
    """One tool, as `tools/list` gives it."""
    made: Schema = {
        "name": operation.mcp,
        "description": operation.summary,
        "inputSchema": input_schema(operation),
        "annotations": {
            "readOnlyHint": operation.read_only,
            "destructiveHint": operation.destructive,
            "idempotentHint": operation.idempotent,
            "openWorldHint": operation.open_world,
        },
    }
    if operation.name not in SHOWS_PICTURES:
        made["outputSchema"] = output_schema(operation.result)
        if operation.takes_workspace:
            made["outputSchema"]["properties"][NOTE] = {"type": "string"}
    if any(p.name == "max_bytes" for p in offered(operation)):
        made["_meta"] = {"anthropic/maxResultSizeChars": MAX_RESULT_CHARACTERS}
    return made


NOTE = "persons_note"
"""What the person says to the agent, in any result about a workspace."""
SHOWS_PICTURES = ("read_workspace_file", "read_workspace_disk")
"""Tools that promise no structured content: Codex does not show a picture that it stands beside, and the official
client libraries refuse a result without what was promised."""
MAX_RESULT_CHARACTERS = 200_000
"""What Claude Code passes on whole of a result whose size the model itself asked for (`max_bytes`); by default it
keeps results of more than 25,000 tokens from the model."""


def offered(operation: Operation) -> list[Parameter]:
    """The parameters that the tool has."""
    return [p for p in operation.listed if p.name not in operation.hidden]


def input_schema(operation: Operation) -> Schema:
    """Without `additionalProperties`, which would cost 7 tokens a tool: unknown names are refused when called."""
    properties: Schema = {}
    for p in offered(operation):
        said: Schema = {"type": {"list": "array", "dict": "object"}.get(p.kind, p.kind)}
        if p.kind == "list":
            said["items"] = {"type": "object" if p.of_objects else "string"}
        if p.choices:
            said = {"enum": list(p.choices)}
        said["description"] = _MEANS_ELSE.get((operation.name, p.name), p.description).rstrip(".")
        properties[p.name] = said
    schema: Schema = {"type": "object", "properties": properties}
    required = [p.name for p in offered(operation) if p.required]
    if required:
        schema["required"] = required
    return schema


# -- results


def output_schema(model: type[BaseModel]) -> Schema:
    """The shape of a result from which empty optional fields were dropped (`without_empty`)."""
    hints = typing.get_type_hints(model)
    properties = {name: _shape(hints[name]) for name in model.model_fields}
    required = [name for name, info in model.model_fields.items() if info.is_required() and not _nullable(hints[name])]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _nullable(hint: Any) -> bool:
    return type(None) in typing.get_args(hint)


def _shape(hint: Any) -> Schema:
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if hint is datetime:
        return {"type": "string"}
    if origin in (typing.Union, types.UnionType):
        return _shape(next(member for member in inside if member is not type(None)))
    if origin is Literal:
        return {"type": "string", "enum": list(inside)}
    if origin is list:
        return {"type": "array", "items": _shape(inside[0])}
    if origin is dict:
        return {"type": "object"} if inside[1] is Any else {"type": "object", "additionalProperties": _shape(inside[1])}
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return output_schema(hint)
    return {"type": {str: "string", int: "integer", float: "number", bool: "boolean"}[hint]}


def without_empty(value: Any, schema: Schema) -> Any:
    """A result without what says nothing: null, false, empty texts and lists, unless the schema requires them."""
    if isinstance(value, list):
        return [without_empty(item, schema.get("items", {})) for item in value]
    if not isinstance(value, dict) or "properties" not in schema:
        return value
    kept = {}
    for name, item in value.items():
        if item is None or (name not in schema["required"] and (item is False or item in ("", [], {}))):
            continue
        kept[name] = without_empty(item, schema["properties"].get(name, {}))
    return kept

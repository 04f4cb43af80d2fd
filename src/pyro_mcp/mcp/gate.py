"""What may come in: the bytes of one JSON-RPC message, or the error that answers them. Pure, without sockets.

The library drops what it cannot parse, and a host then waits for ever. So every line of standard input, and every
body over HTTP, is judged here first: a request that cannot be one is answered, and only what the library can take
reaches it.

An answer bears the request's id where the id could be read, else null (JSON-RPC 2.0, section 5). Notifications and
responses are never answered, however odd: a host would take the answer for that of a request of its own.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

Message = dict[str, Any]
MAX_BYTES = 24 * 1024 * 1024
"""Of one message, as for the daemon: the largest is a command line of 16 MiB."""
MAX_DEPTH = 128
"""Of lists and objects in each other: the library's parser gives up at 200."""
MAX_DIGITS = 64
"""Of one number."""
MAX_ID = 2**63 - 1
MAX_ID_CHARACTERS = 1024
MAX_METHOD = 256
"""Characters of a method's name: an error of the library repeats it."""
# JSON-RPC 2.0, section 5.1
PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS = -32700, -32600, -32601, -32602
_WHITE = b" \t\r\n"  # RFC 8259, section 2: nothing else is whitespace
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{}\]:,]|[^\s\[\]{}:,"]+', re.S)
"""A string that does not end is one token, too: looking for its end from each quote in it takes hours."""


@dataclass(frozen=True)
class Refusal:
    """Why something is not a message, for whoever sent it."""

    code: int
    message: str
    id: int | str | None = None

    def answer(self) -> Message:
        return {"jsonrpc": "2.0", "id": self.id, "error": {"code": self.code, "message": self.message}}


class _Odd(ValueError):
    """Well-formed, but not to be taken; its id can be read."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


TOO_LONG = Refusal(INVALID_REQUEST, f"The message is longer than {MAX_BYTES} bytes.")


def judged(data: bytes) -> Message | Refusal | None:
    """The message in `data`; what answers it where it is none; None where nothing is to be said or done."""
    if len(data) > MAX_BYTES:
        return TOO_LONG
    data = data.strip(_WHITE)
    if not data:
        return None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        return Refusal(PARSE_ERROR, f"Byte {error.start} of the message is not UTF-8.")
    if text.startswith("\ufeff"):
        return Refusal(PARSE_ERROR, "The message begins with a byte order mark; JSON has none.")
    try:
        _check_depth(text)
        found = json.loads(
            text, parse_int=_integer, parse_float=_float, parse_constant=_constant, object_pairs_hook=_object
        )
        if _SURROGATE.search(data):
            _check_characters(found)
    except _Odd as odd:
        return _unread(odd, text)
    except ValueError as error:
        return Refusal(PARSE_ERROR, f"The message is not JSON: {error}.")
    return _message(found)


def _message(found: Any) -> Message | Refusal | None:
    if isinstance(found, list):
        return Refusal(INVALID_REQUEST, "Batches are not supported; send each message separately.")
    if not isinstance(found, dict):
        return Refusal(INVALID_REQUEST, "A message must be a JSON object.")
    answers = "result" in found or "error" in found
    if "method" not in found and answers:
        return found if found.get("jsonrpc") == "2.0" and is_id(found.get("id")) else None
    number = found.get("id")
    said = number if is_id(number) else None
    if "id" in found and said is None:
        shown = "null" if number is None else "true or false" if isinstance(number, bool) else "another thing"
        return Refusal(INVALID_REQUEST, f"The id must be an integer of at most 64 bits or a string, not {shown}.")
    if found.get("jsonrpc") != "2.0":
        return Refusal(INVALID_REQUEST, 'The message must hold "jsonrpc": "2.0".', said)
    if "method" not in found:
        return Refusal(INVALID_REQUEST, "The message has no method.", said)
    if not isinstance(found["method"], str):
        return Refusal(INVALID_REQUEST, "The method must be a string.", said)
    if len(found["method"]) > MAX_METHOD:
        return Refusal(METHOD_NOT_FOUND, "There is no such method.", said) if "id" in found else None
    if answers:
        return Refusal(INVALID_REQUEST, "A message is either a request or a response, not both.", said)
    if not isinstance(found.get("params"), dict | None):
        return Refusal(INVALID_PARAMS, "The params must be an object.", said) if "id" in found else None
    if found["method"] == "tools/call" and said is not None:
        return _call(found, said)
    return found


def _call(found: Message, said: int | str) -> Message | Refusal:
    """A tool's call whose name and arguments can be ones. Models send the arguments as text now and then."""
    params = found.get("params") or {}
    if not isinstance(params.get("name"), str):
        return Refusal(INVALID_PARAMS, "The call's `name` must be a string, the name of a tool.", said)
    arguments = params.get("arguments")
    if isinstance(arguments, str):
        try:
            # As deep as the message, at most: what is in a string was not looked at.
            _check_depth(arguments)
            inside = json.loads(
                arguments, parse_int=_integer, parse_float=_float, parse_constant=_constant, object_pairs_hook=_object
            )
            _check_characters(inside)
        except ValueError:
            inside = None
        arguments = params["arguments"] = inside if isinstance(inside, dict) else []
    if not isinstance(arguments, dict | None):
        return Refusal(INVALID_PARAMS, "The call's `arguments` must be an object: names to values.", said)
    return found


def is_id(value: Any) -> bool:
    """Whether it can be a request's id."""
    if isinstance(value, str):
        return len(value) <= MAX_ID_CHARACTERS
    return isinstance(value, int) and not isinstance(value, bool) and -MAX_ID - 1 <= value <= MAX_ID


# -- what JSON allows and we do not


def _check_depth(text: str) -> None:
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    for token in _TOKEN.finditer(text):
        mark = token[0]
        if mark in ("[", "{"):
            depth += 1
            if depth > MAX_DEPTH:
                raise _Odd(INVALID_REQUEST, f"The message is nested more than {MAX_DEPTH} levels deep.")
        elif mark in ("]", "}"):
            depth -= 1


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise _Odd(INVALID_REQUEST, f"The message contains a number of {len(text)} digits; the limit is {MAX_DIGITS}.")
    return int(text)


def _float(text: str) -> float:
    value = float(text)
    if len(text) > 2048 or value in (float("inf"), float("-inf")):
        raise _Odd(INVALID_REQUEST, "The message contains a number that is out of range.")
    return value


def _constant(text: str) -> Any:
    raise _Odd(PARSE_ERROR, f"The message contains {text}, which is not JSON.")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _Odd(INVALID_REQUEST, f"The key {twice[:64]!a} occurs twice in one object.")
    return found


def _check_characters(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise _Odd(INVALID_REQUEST, "The message contains a lone surrogate, which is not a character.") from None


def _unread(odd: _Odd, text: str) -> Refusal | None:
    """What answers a message that was read no further, as far as its outline tells."""
    outline = _outline(text)
    keys = {key for key, _ in outline}
    if "method" not in keys and keys & {"result", "error"}:
        return None
    if keys >= {"jsonrpc", "method"} and "id" not in keys:
        return None
    return Refusal(odd.code, str(odd), _id_in(outline))


def _outline(text: str) -> list[tuple[str, str]]:
    """The keys of the outermost object, each with its value where that is not a list or object, unread."""
    if not text.startswith("{"):
        return []
    depth, before = 0, ""
    found: list[tuple[str, str]] = []
    awaits = False
    for token in _TOKEN.finditer(text):
        mark = token[0]
        if awaits and mark not in ("[", "{", "]", "}", ",", ":"):
            found[-1] = (found[-1][0], mark)
        awaits = depth == 1 and mark == ":"
        if awaits:
            found.append((_key(before), ""))
        if mark in ("[", "{"):
            depth += 1
        elif mark in ("]", "}"):
            depth -= 1
        before = mark
    return found


def _key(token: str) -> str:
    """A key as it is meant: `"\\u0069d"` is the id, too."""
    try:
        return str(json.loads(token)) if len(token) <= 64 else ""
    except ValueError:
        return ""


def _id_in(outline: list[tuple[str, str]]) -> int | str | None:
    """The id of a request; None where there is not exactly one that can be one."""
    found = [value for key, value in outline if key == "id"]
    if len(found) != 1 or len(found[0]) > 2 * MAX_ID_CHARACTERS:
        return None
    try:
        value = json.loads(found[0])
        if isinstance(value, str):
            value.encode()
    except ValueError:
        return None
    return value if is_id(value) else None

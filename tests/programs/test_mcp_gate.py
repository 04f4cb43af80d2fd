"""Whatever comes in over MCP, a request is answered, and the server goes on serving."""

from __future__ import annotations

import json
import os
import select
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp_types import jsonrpc_message_adapter

from pyro_mcp.mcp.gate import MAX_BYTES, MAX_DEPTH, Refusal, judged
from tests.programs.test_mcp_schema_serve import META, Host

PING = b'{"jsonrpc":"2.0","id":%s,"method":"ping"}'
DEEP = b'{"jsonrpc":"2.0","id":7,"method":"ping","params":{"a":%s}}'

# What is sent, the code of the error, and the id that it bears.
ODD: dict[str, tuple[bytes, int, Any]] = {
    "surrogate": (b'{"jsonrpc":"2.0","id":7,"method":"ping","params":{"a":"\\ud800"}}', -32600, 7),
    "surrogate in a key": (b'{"jsonrpc":"2.0","id":7,"method":"ping","params":{"\\uDFFF":1}}', -32600, 7),
    "surrogate in the method": (b'{"jsonrpc":"2.0","id":7,"method":"\\ud800"}', -32600, 7),
    "surrogate in the id": (b'{"jsonrpc":"2.0","id":"\\ud800","method":"ping"}', -32600, None),
    "not JSON": (b"{nonsense", -32700, None),
    "cut off": (b'{"jsonrpc":"2.0","id":7,"method":"pi', -32700, None),
    "two in a line": (PING % b"7" + PING % b"8", -32700, None),
    "words": (b"hello", -32700, None),
    "no method": (b'{"jsonrpc":"2.0","id":7}', -32600, 7),
    "method null": (b'{"jsonrpc":"2.0","id":7,"method":null}', -32600, 7),
    "method a number": (b'{"jsonrpc":"2.0","id":7,"method":1}', -32600, 7),
    "no jsonrpc": (b'{"id":7,"method":"ping"}', -32600, 7),
    "jsonrpc 1.0": (b'{"jsonrpc":"1.0","id":7,"method":"ping"}', -32600, 7),
    "jsonrpc a number": (b'{"jsonrpc":2.0,"id":7,"method":"ping"}', -32600, 7),
    "jsonrpc only": (b'{"jsonrpc":"2.0"}', -32600, None),
    "nothing": (b"{}", -32600, None),
    "batch": (b"[" + PING % b"7" + b"]", -32600, None),
    "empty batch": (b"[]", -32600, None),
    "null": (b"null", -32600, None),
    "a number": (b"7", -32600, None),
    "a string": (b'"ping"', -32600, None),
    "id null": (PING % b"null", -32600, None),
    "id float": (PING % b"1.5", -32600, None),
    "id whole float": (PING % b"1.0", -32600, None),
    "id true": (PING % b"true", -32600, None),
    "id object": (PING % b"{}", -32600, None),
    "id list": (PING % b"[7]", -32600, None),
    "id huge": (PING % (b"9" * 30), -32600, None),
    "id of 5,000 digits": (PING % (b"9" * 5000), -32600, None),
    "id a long text": (PING % (b'"' + b"x" * 5000 + b'"'), -32600, None),
    "5,000 digits": (DEEP % (b"1" * 5000), -32600, 7),
    "1e999": (DEEP % b"1e999", -32600, 7),
    "NaN": (DEEP % b"NaN", -32700, 7),
    "Infinity": (DEEP % b"-Infinity", -32700, 7),
    "BOM": (b"\xef\xbb\xbf" + PING % b"7", -32700, None),
    "UTF-16": ((PING % b"7").decode().encode("utf-16-le"), -32700, None),
    "NUL": (b'{"jsonrpc":"2.0","id":7,"method":"ping\0"}', -32700, None),
    "NUL before": (b"\0" + PING % b"7", -32700, None),
    "not UTF-8": (b'{"jsonrpc":"2.0","id":7,"method":"ping","params":{"a":"\xff"}}', -32700, None),
    "a form feed before": (b"\f" + PING % b"7", -32700, None),
    "a vertical tab behind": (PING % b"7" + b"\v", -32700, None),
    "a form feed alone": (b"\f", -32700, None),
    "encoded surrogate": (b'{"jsonrpc":"2.0","id":7,"method":"\xed\xa0\x80"}', -32700, None),
    "300 deep": (DEEP % (b"[" * 300 + b"]" * 300), -32600, 7),
    "100,000 deep": (DEEP % (b"[" * 100_000 + b"]" * 100_000), -32600, 7),
    "100,000 deep and never closed": (b"[" * 100_000, -32600, None),
    "objects 100,000 deep": (b'{"a":' * 100_000, -32600, None),
    "key twice": (b'{"jsonrpc":"2.0","id":7,"method":"ping","params":{"a":1,"a":2}}', -32600, 7),
    "id twice": (b'{"jsonrpc":"2.0","id":7,"id":8,"method":"ping"}', -32600, None),
    "params a list": (b'{"jsonrpc":"2.0","id":7,"method":"ping","params":[]}', -32602, 7),
    "params a text": (b'{"jsonrpc":"2.0","id":7,"method":"ping","params":"x"}', -32602, 7),
    "request and answer": (b'{"jsonrpc":"2.0","id":7,"method":"ping","result":{}}', -32600, 7),
    "too long": (DEEP % (b'"' + b"x" * MAX_BYTES + b'"'), -32600, None),
    "unknown method": (b'{"jsonrpc":"2.0","id":7,"method":"no/such"}', -32601, 7),
    "a method of a million letters": (b'{"jsonrpc":"2.0","id":7,"method":"' + b"x" * 10**6 + b'"}', -32601, 7),
    "an id by an escaped key": (b'{"jsonrpc":"2.0","\\u0069d":7,"method":"ping","params":{"a":1e999}}', -32600, 7),
    "no method at all": (b'{"jsonrpc":"2.0","id":7,"method":""}', -32601, 7),
    "call without params": (b'{"jsonrpc":"2.0","id":7,"method":"tools/call"}', -32602, 7),
    "call with a number": (b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":7}}', -32602, 7),
    "call with a list": (
        b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"vm_run","arguments":[]}}',
        -32602,
        7,
    ),
}
SILENT = (
    b"",
    b"   ",
    b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1,"reason":"late"}}',
    b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"never"}}',
    b'{"jsonrpc":"2.0","method":"notifications/no-such"}',
    b'{"jsonrpc":"2.0","method":"notifications/initialized","params":[1]}',
    b'{"jsonrpc":"2.0","id":99,"result":{}}',
    b'{"jsonrpc":"2.0","id":99,"error":{"code":1,"message":"x"}}',
    b'{"jsonrpc":"2.0","id":99,"result":7}',
    b'{"jsonrpc":"2.0","id":null,"error":7}',
    # Well-formed but for what they hold: an answer's id could be that of a request of the host's own.
    b'{"jsonrpc":"2.0","id":7,"result":{"a":"\\ud800"}}',
    b'{"jsonrpc":"2.0","id":7,"result":{"a":1e999}}',
    b'{"jsonrpc":"2.0","id":7,"result":' + b"[" * 300 + b"]" * 300 + b"}",
    b'{"jsonrpc":"2.0","id":7,"error":{"code":1,"message":"\\udfff"}}',
    b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"a":"\\ud800"}}',
    b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"a":' + b"9" * 5000 + b"}}",
    b'{"jsonrpc":"2.0","method":"notifications/' + b"x" * 5000 + b'"}',
)
OPENED = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "host", "version": "1"}}


class Talk(Host):
    """A host that says any bytes and never waits for ever."""

    def send(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def hear(self, seconds: float = 60.0) -> dict[str, Any]:
        assert self.process.stdout is not None
        self._kept = getattr(self, "_kept", b"")
        end = time.monotonic() + seconds
        while b"\n" not in self._kept:
            ready = select.select([self.process.stdout], [], [], max(0.0, end - time.monotonic()))[0]
            assert ready, "silence"
            chunk = os.read(self.process.stdout.fileno(), 1 << 20)
            assert chunk, "the server has gone"
            self._kept += chunk
        line, _, self._kept = self._kept.partition(b"\n")
        heard: dict[str, Any] = json.loads(line)
        return heard

    def serves(self, number: int) -> None:
        self.say({"id": number, "method": "ping"})
        heard = self.hear()
        assert (heard["id"], heard["result"]) == (number, {}), heard


@pytest.mark.parametrize("taken_over", [False, True], ids=["opening", "library"])
def test_every_odd_request_gets_its_error_and_the_server_goes_on(tmp_path: Path, taken_over: bool) -> None:
    host = Talk(tmp_path)
    host.say({"id": 1, "method": "initialize", "params": OPENED})
    assert "result" in host.hear()
    if taken_over:
        host.say({"method": "notifications/initialized"}, {"id": 2, "method": "no/such"})
        assert host.hear()["error"]["code"] == -32601
    for number, (name, (data, code, said)) in enumerate(ODD.items(), 1000):
        host.send(data + (b"\r\n" if number % 2 else b"\n"))
        heard = host.hear()
        assert (heard["error"]["code"], heard["id"]) == (code, said), (name, heard)
        assert heard["error"]["message"], name
        host.serves(number)
    for number, data in enumerate(SILENT, 2000):
        host.send(data + b"\n")
        host.serves(number)
    host.send(b'{"jsonrpc":"2.0","id":9,"method":"pi')  # the end in the middle of a message
    assert host.process.stdin is not None
    host.process.stdin.close()
    assert host.hear()["error"]["code"] == -32700
    assert host.process.wait(20) == 0


def test_a_line_of_a_hundred_megabytes_is_refused_and_never_held(tmp_path: Path) -> None:
    host = Talk(tmp_path)
    host.say({"id": 1, "method": "initialize", "params": OPENED})
    host.hear()
    piece = b"x" * (1 << 20)
    for _ in range(100):
        host.send(piece)
    host.send(b"\n")
    assert "longer than" in host.hear()["error"]["message"]
    host.serves(2)
    status = Path(f"/proc/{host.process.pid}/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0]) // 1024
    assert peak < 250, f"{peak} MiB"
    assert host.leave() == 0


@pytest.mark.parametrize("meta", [None, META], ids=["handshake", "stateless"])
def test_before_the_handshake_and_after_a_second_one_there_are_answers(tmp_path: Path, meta: Any) -> None:
    host = Talk(tmp_path)
    early = ("tools/list", "tools/call", "resources/list", "prompts/get", "completion/complete", "x")
    for number, method in enumerate(early, 1):
        host.say({"id": number, "method": method})
        heard = host.hear()
        assert heard["id"] == number
        assert "error" in heard or "result" in heard
    if meta:
        host.say({"id": 20, "method": "tools/list", "params": {"_meta": meta}})
        assert host.hear()["id"] == 20
    for number in (30, 31, 32):
        host.say({"id": number, "method": "initialize", "params": OPENED if number < 32 else {"protocolVersion": 5}})
        heard = host.hear()
        assert heard["id"] == number
        assert "error" in heard or "result" in heard
    host.serves(40)
    assert host.leave() == 0


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_a_message_a_refusal_or_nothing(data: bytes) -> None:
    _check(data)


JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
ENVELOPE = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.just("2.0") | JSON,
        "id": st.integers() | JSON,
        "method": st.text(max_size=12) | JSON,
        "params": st.dictionaries(st.text(max_size=8), JSON, max_size=3) | JSON,
        "result": JSON,
        "error": JSON,
    },
)


@given(JSON | ENVELOPE, st.booleans())
def test_any_json_is_a_message_that_the_library_takes_or_is_answered(value: Any, ascii_only: bool) -> None:
    _check(json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass"))


def _check(data: bytes) -> None:
    found = judged(data)
    if isinstance(found, Refusal):
        json.dumps(found.answer(), ensure_ascii=False).encode()
        _check_asked(data)
    elif found is not None and "method" in found:
        # What passes, the library can read, with the same meaning.
        read: Any = jsonrpc_message_adapter.validate_json(data, by_name=False)
        assert read.method == found["method"]
        assert getattr(read, "id", None) == found.get("id")
    else:
        try:
            said = json.loads(data)
        except (ValueError, RecursionError):
            assert not data.strip(), "what cannot be read is answered"
        else:
            assert isinstance(said, dict)
            assert "method" not in said or "id" not in said, "a request is answered"


def _check_asked(data: bytes) -> None:
    """What is refused is neither a notification nor an answer."""
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        return
    if isinstance(said, dict) and said.get("jsonrpc") == "2.0":
        answers = bool({"result", "error"} & said.keys())
        assert not (isinstance(said.get("method"), str) and "id" not in said and not answers), "a notification"
        assert "method" in said or not answers, "an answer"


def test_the_deepest_that_passes_is_read_by_the_library() -> None:
    inside = b"[" * (MAX_DEPTH - 2) + b"]" * (MAX_DEPTH - 2)
    assert isinstance(judged(DEEP % inside), dict)
    jsonrpc_message_adapter.validate_json(DEEP % inside)
    assert isinstance(judged(DEEP % (b"[" + inside + b"]")), Refusal)
    strings = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "x", "params": {"a": '[{"' * 500}})
    assert isinstance(judged(strings.encode()), dict), "brackets within texts do not count"


def test_arguments_that_come_as_text_reach_the_tool_and_errors_repeat_little(tmp_path: Path) -> None:
    host = Talk(tmp_path)
    host.say({"id": 1, "method": "initialize", "params": OPENED})
    host.hear()
    for params, says in (
        ({"name": "workspace_list", "arguments": '{"no_such": 1}'}, "no_such"),
        ({"name": "workspace_list", "arguments": "{}"}, '"workspaces"'),
        ({"name": "x" * 10**6}, "There is no tool"),
        ({"name": "workspace_list", "arguments": {"y" * 10**6: 1}}, "has no parameter"),
    ):
        host.say({"id": 7, "method": "tools/call", "params": params})
        text = host.hear()["result"]["content"][0]["text"]
        assert says in text and len(text) < 2000, text[:500]
    host.say({"id": 8, "method": "resources/read", "params": {"uri": "pyro://" + "x" * 10**6}})
    assert len(str(host.hear()["error"])) < 3000
    assert host.leave() == 0


def test_a_call_s_name_and_arguments_can_be_ones() -> None:
    def call(params: Any) -> Any:
        return judged(json.dumps({"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": params}).encode())

    taken = call({"name": "workspace_list", "arguments": '{"labels": {"a": "b"}}'})
    assert taken["params"]["arguments"] == {"labels": {"a": "b"}}
    assert "arguments" not in call({"name": "workspace_list"})["params"]
    odds: list[Any] = [[], 5, "no", "[1]", "5", '{"a": NaN}', '{"a":']
    for params, word in (
        ({}, "`name`"),
        ({"name": 5}, "`name`"),
        *(({"name": "x", "arguments": odd}, "`arguments`") for odd in odds),
        ({"name": "x", "arguments": "[" * 1000}, "`arguments`"),
        ({"name": "x", "arguments": '{"a": "\\ud800"}'}, "`arguments`"),
    ):
        refused = call(params)
        if isinstance(refused, Refusal):
            assert (refused.code, refused.id) == (-32602, 3) and word in refused.message
        else:
            raise AssertionError(params)

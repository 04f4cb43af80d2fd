"""What a guest's programs need to find the proxy."""

from __future__ import annotations


def environment(port: int) -> dict[str, str]:
    proxy = f"http://127.0.0.1:{port}"
    names = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY")
    return {name: proxy for name in names} | {"NO_PROXY": "localhost,127.0.0.1,::1", "no_proxy": "localhost,127.0.0.1,::1"}

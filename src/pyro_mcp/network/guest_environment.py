"""What a guest's programs need in order to find the proxy: variables, and files for those that read none."""

from __future__ import annotations


def environment(port: int) -> dict[str, str]:
    """Variables that curl, git, pip, uv, npm, wget, cargo, go and Node understand."""
    proxy = f"http://127.0.0.1:{port}"
    direct = "localhost,127.0.0.1,::1"
    return {
        "HTTP_PROXY": proxy,
        "HTTPS_PROXY": proxy,
        "ALL_PROXY": proxy,
        "http_proxy": proxy,
        "https_proxy": proxy,
        "all_proxy": proxy,
        "NO_PROXY": direct,
        "no_proxy": direct,
        "NODE_USE_ENV_PROXY": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
    }


def files(port: int) -> dict[str, str]:
    """Configuration below /etc: apt run by another user or by a cleaned environment still finds its way."""
    proxy = f"http://127.0.0.1:{port}"
    return {
        "/etc/apt/apt.conf.d/80pyro-proxy": f'Acquire::http::Proxy "{proxy}";\nAcquire::https::Proxy "{proxy}";\n',
    }

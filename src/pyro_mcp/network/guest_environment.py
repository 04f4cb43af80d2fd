"""What a guest's programs need in order to find the proxy: variables, and files for those that read none."""

from __future__ import annotations

import base64
import functools
import os
import ssl
from collections.abc import Iterable, Mapping
from pathlib import Path

from pyro_mcp.network.ssh_agent import SshHost
from pyro_mcp.network.ssh_wire import kind_of

GUEST_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
"""Debian's file of trusted authorities."""
HOST_BUNDLES = (GUEST_BUNDLE, "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem")
"""Where distributions keep theirs: Debian, Fedora, openSUSE, Alpine and Arch."""
GIT_HELPER = "/etc/pyro-git-credentials"
GIT_CONFIGURATION = "/etc/pyro-gitconfig"
"""Included by the environment's own /etc/gitconfig, which stays as it is."""
MAX_BUNDLE = 4 * 1024 * 1024


SSH_AGENT = "/run/pyro-ssh-agent"
"""Where the machine's agent listens for programs that log in by ssh (`agent/sshagent.go`)."""
SSH_CONFIGURATION = "/etc/ssh/ssh_config.d/pyro.conf"
SSH_KNOWN_HOSTS = "/etc/pyro-ssh-known-hosts"
OFFLINE = {"PIP_RETRIES": "0", "npm_config_fetch_retries": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
"""Variables where there is no way out: what tries again and again only makes the one who waits wait."""


def environment(port: int, hostname: str = "") -> dict[str, str]:
    """Variables that curl, git, pip, uv, npm, wget, cargo, go and Node understand; `hostname` is the machine's own."""
    proxy = f"http://127.0.0.1:{port}"
    # All that means the machine itself. No `[::1]`, which Python's urllib alone would understand: httpx fails at it.
    direct = "localhost,.localhost,127.0.0.1,127.1,127.0.0.2,127.0.1.1,127.0.0.0/8,::1,0.0.0.0,0"
    direct += f",{hostname}" if hostname else ""
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
        # Programs that bring a bundle of their own (pip, requests, Node) are shown the machine's.
        "SSL_CERT_FILE": GUEST_BUNDLE,
        "REQUESTS_CA_BUNDLE": GUEST_BUNDLE,
        "PIP_CERT": GUEST_BUNDLE,
        "CURL_CA_BUNDLE": GUEST_BUNDLE,
        "GIT_SSL_CAINFO": GUEST_BUNDLE,
        "NODE_EXTRA_CA_CERTS": GUEST_BUNDLE,
        "CARGO_HTTP_CAINFO": GUEST_BUNDLE,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
    }


def files(port: int, authority: str = "") -> dict[str, str]:
    """Configuration below /etc: apt run by another user or by a cleaned environment still finds its way.

    The guest trusts the authorities that this computer trusts: behind a proxy that inspects TLS, as companies
    have them, nothing would work otherwise. `authority` is the certificate of the workspace's own, in PEM.
    """
    proxy = f"http://127.0.0.1:{port}"
    bundle = host_bundle()
    trusted = {GUEST_BUNDLE: f"{bundle.rstrip()}\n{authority}"} if bundle else {}
    if authority:
        trusted["/etc/ssl/pyro-workspace.crt"] = authority
    return trusted | {
        # What sudo would clean away is how programs find the proxy and the authorities (sudoers(5), env_keep).
        "/etc/sudoers.d/pyro-network": f'Defaults env_keep += "{" ".join(environment(port))}"\n',
        "/etc/apt/apt.conf.d/80pyro-proxy": f'Acquire::http::Proxy "{proxy}";\nAcquire::https::Proxy "{proxy}";\n',
    }


def git_configuration(placeholders: Mapping[str, str]) -> dict[str, str]:
    """What lets git inside log in with the placeholder of a host's secret, which the proxy then replaces.

    `placeholders` are by host. The name of the user is one that services with tokens take or do not look at.
    """
    if not placeholders:
        return {}
    cases = "".join(
        f"    {host}|{host}:*) echo username=x-access-token; echo password={placeholder} ;;\n"
        for host, placeholder in placeholders.items()
    )
    helper = (
        "#!/bin/sh\n# pyro: placeholders for secrets that only their hosts receive (gitcredentials(7))\n"
        '[ "$1" = get ] || exit 0\n'
        f'while IFS="=" read -r key value; do\n  [ "$key" = host ] && case "$value" in\n{cases}  esac\ndone\nexit 0\n'
    )
    return {
        GIT_HELPER: helper,
        GIT_CONFIGURATION: f'# pyro: see {GIT_HELPER}\n[credential]\n\thelper = "!sh {GIT_HELPER}"\n',
    }


def ssh_configuration(hosts: Mapping[SshHost, Iterable[bytes]]) -> dict[str, str]:
    """What lets ssh inside log in at servers with the user's keys, and know these servers by the user's word."""
    if not hosts:
        return {}
    text = "# pyro: servers at which the user's keys log in; they stay outside (see docs/network.md)\n"
    known = ""
    for host, keys in hosts.items():
        text += f"Host {host.host}\n    IdentityAgent {SSH_AGENT}\n"
        text += f"    GlobalKnownHostsFile {SSH_KNOWN_HOSTS} /etc/ssh/ssh_known_hosts\n"
        for key in sorted(keys):
            known += f"{host.known_as} {kind_of(key)} {base64.b64encode(key).decode()}\n"
    return {SSH_CONFIGURATION: text, SSH_KNOWN_HOSTS: known}


@functools.cache
def host_bundle() -> str | None:
    """The authorities that this computer trusts; None when there is no such file, and the guest keeps its own."""
    named = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile
    for candidate in [*([named] if named else []), *HOST_BUNDLES]:
        try:
            text = Path(candidate).read_text(errors="replace")
        except OSError:
            continue
        if "-----BEGIN CERTIFICATE-----" in text and len(text) <= MAX_BUNDLE:
            return text
    return None

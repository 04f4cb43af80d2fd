"""The programs that run inside: where each comes from, how it is started there, and which key it wants.

In there nothing is asked for: the machine is the boundary. So each is started with its permission prompts off, and with
nothing that it would report or fetch besides its model.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

from pyro_mcp.errors import InvalidInput
from pyro_mcp.hosts.claude_code import ClaudeCode
from pyro_mcp.hosts.opencode import OpenCode
from pyro_mcp.plain import Plain

REGISTRY_HOST = "registry.npmjs.org"
FOLDER = "/opt/coding-agent"
"""Where the package is unpacked inside."""
NO_KEY = "none"
"""Given to a program that wants a key where the endpoint wants none."""


class Package(Plain):
    """An npm package that holds a program for x86-64 Linux, without anything that it depends on."""

    path: str
    """Below the registry."""
    version: str
    sha512: str
    """Of the archive, in hex; npm's `integrity` is the same in base64."""
    program: str
    """Below `FOLDER`."""


class Key(Plain):
    """A variable that holds a credential, and the one host that it is for."""

    variable: str
    host: str


class Start(Plain):
    """How a program is started in the machine."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    before: str = ""
    """A line of sh that runs first."""


class Program(ABC):
    """One of them."""

    name: ClassVar[str]
    title: ClassVar[str]
    package: ClassVar[Package]
    keys: ClassVar[tuple[Key, ...]]
    """The first that the user has is taken."""
    told: ClassVar[Mapping[str, str]]
    """Instructions and skills of the user's: below the home here, and below the home inside."""

    @property
    def executable(self) -> str:
        return f"{FOLDER}/{self.package.program}"

    @abstractmethod
    def start(self, prompt: str | None, *, model: str | None, url: str | None, key: str, more: Sequence[str]) -> Start:
        """How to start it.

        Args:
            prompt: what it is to do, then it ends; without, it talks with the person at the terminal.
            model: by default the program's own.
            url: of the endpoint as the machine reaches it; by default the maker's.
            key: the variable that holds the credential.
            more: further arguments, passed on as they are.
        Raises:
            InvalidInput: the program cannot do what is asked for.
        """


class ClaudeCodeInside(Program):
    name = "claude-code"
    title = ClaudeCode.title
    package = Package(
        path="@anthropic-ai/claude-code-linux-x64/-/claude-code-linux-x64-2.1.329.tgz",
        version="2.1.329",
        sha512="fa7e25bb5b9b600a74d98d17fcc0149f1c3dc98e921c767bec5f88a16f95d305"
        "6816e888f68a5d1fa8287e37f5e205c908460c4cda64b3b1a7d62f1765328058",
        program="claude",
    )
    keys = (
        Key("ANTHROPIC_API_KEY", "api.anthropic.com"),
        Key("CLAUDE_CODE_OAUTH_TOKEN", "api.anthropic.com"),
        Key("ANTHROPIC_AUTH_TOKEN", "api.anthropic.com"),
    )
    told: ClassVar[Mapping[str, str]] = {
        f".claude/{each}": f".claude/{each}" for each in ("CLAUDE.md", "agents", "commands", "output-styles", "skills")
    }
    _KNOWN: ClassVar[Mapping[str, object]] = {
        "hasCompletedOnboarding": True,
        "bypassPermissionsModeAccepted": True,
        "projects": {"/workspace": {"hasTrustDialogAccepted": True, "hasCompletedProjectOnboarding": True}},
    }
    """What it would ask a person at its first start."""

    def start(self, prompt: str | None, *, model: str | None, url: str | None, key: str, more: Sequence[str]) -> Start:
        argv = [self.executable, "--dangerously-skip-permissions", *(["--model", model] if model else [])]
        known = json.dumps(self._KNOWN)[:-1]
        # It asks once for each key, which it knows by its last twenty characters.
        before = (
            f"""[ -e /root/.claude.json ] || printf '%s,"customApiKeyResponses":{{"approved":["%s"]}}}}' '{known}' """
            f""""$(printf %s "${key}" | tail -c 20)" >/root/.claude.json"""
        )
        return Start(
            (*argv, *(["-p"] if prompt is not None else []), *more, *(["--", prompt] if prompt is not None else [])),
            # As root it skips its prompts only where it is told that it is in a sandbox.
            {**ClaudeCode.quiet, "IS_SANDBOX": "1", **({"ANTHROPIC_BASE_URL": url} if url else {})},
            before,
        )


class CodexInside(Program):
    name = "codex"
    title = "Codex"
    package = Package(
        path="@openai/codex/-/codex-0.169.0-linux-x64.tgz",
        version="0.169.0",
        sha512="a34e4dc803820f28123d1a35ca29f3c6f91149d9ac672043f44ee66e99a345a9"
        "d27ccf25ca9a96b50804a385df364c21b82476685bbc9a518eb101855d56d5c3",
        program="vendor/x86_64-unknown-linux-musl/bin/codex",
    )
    keys = (Key("OPENAI_API_KEY", "api.openai.com"), Key("CODEX_API_KEY", "api.openai.com"))
    told: ClassVar[Mapping[str, str]] = {
        f".codex/{each}": f".codex/{each}" for each in ("AGENTS.md", "prompts", "skills")
    }

    def start(self, prompt: str | None, *, model: str | None, url: str | None, key: str, more: Sequence[str]) -> Start:
        endpoint = json.dumps(url or "https://api.openai.com/v1")
        provider = f'{{name = "pyro", base_url = {endpoint}, wire_api = "responses", env_key = {json.dumps(key)}}}'
        settings = (
            f"model_providers.pyro={provider}",
            'model_provider="pyro"',
            'projects."/workspace".trust_level="trusted"',
            *("check_for_update_on_startup=false", "analytics.enabled=false"),
        )
        argv = [self.executable, *(["exec", "--skip-git-repo-check"] if prompt is not None else [])]
        argv += ["--dangerously-bypass-approvals-and-sandbox", *(["-m", model] if model else [])]
        argv += [word for setting in settings for word in ("-c", setting)]
        return Start((*argv, *more, *(["--", prompt] if prompt is not None else [])), {})


class OpenCodeInside(Program):
    name = "opencode"
    title = OpenCode.title
    package = Package(
        path="opencode-linux-x64-baseline/-/opencode-linux-x64-baseline-1.18.33.tgz",
        version="1.18.33",
        sha512="d4a4060628830de2ff5471db1e43afbc5a3c26bf7b593e7e0b5b5e6abfa9ec87"
        "034e75e05475ea2235383b88cce261d0cf29133f68bcf381429d6e4b0dafb308",
        program="bin/opencode",
    )
    keys = (
        Key("ANTHROPIC_API_KEY", "api.anthropic.com"),
        Key("OPENAI_API_KEY", "api.openai.com"),
        Key("OPENROUTER_API_KEY", "openrouter.ai"),
        Key("OPENCODE_API_KEY", "opencode.ai"),
    )
    told: ClassVar[Mapping[str, str]] = {
        f".config/opencode/{each}": f".config/opencode/{each}" for each in ("AGENTS.md", "agent", "command", "skill")
    }

    def start(self, prompt: str | None, *, model: str | None, url: str | None, key: str, more: Sequence[str]) -> Start:
        settings: dict[str, object] = {
            "permission": dict.fromkeys(("edit", "bash", "webfetch", "external_directory", "doom_loop"), "allow"),
            "share": "disabled",
        }
        if url:
            if not model:
                raise InvalidInput(
                    "opencode must be told which model an endpoint of your own has.",
                    hint="Give --model NAME, as the endpoint calls it.",
                    code="bad_usage",
                )
            options = {"baseURL": url, "apiKey": f"{{env:{key}}}"}
            own = {"npm": "@ai-sdk/openai-compatible", "options": options, "models": {model: {"tool_call": True}}}
            settings |= {"provider": {"own": own}, "enabled_providers": ["own"]}
            model = f"own/{model}"
        argv = [self.executable, *(["run"] if prompt is not None else []), *(["--model", model] if model else [])]
        return Start(
            (*argv, *more, *(["--", prompt] if prompt is not None else [])),
            {**OpenCode.quiet, "OPENCODE_CONFIG_CONTENT": json.dumps(settings)},
        )


PROGRAMS: dict[str, Program] = {each.name: each for each in (ClaudeCodeInside(), CodexInside(), OpenCodeInside())}

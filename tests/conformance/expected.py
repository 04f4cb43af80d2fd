"""What of the conformance suite must pass, and why the rest does not apply."""

from __future__ import annotations

CONFORMANCE = "0.2.0-alpha.12"
"""The first line of releases that knows both revisions; 0.1.16 knows 2025-11-25 only."""
INSPECTOR = "2.12.0"
NODE = "22.22.0"
"""Both want Node 22."""

_BOTH = (
    "tools-list",
    "tools-call-simple-text",
    "tools-call-error",
    "server-sse-multiple-streams",
    "resources-list",
    "prompts-list",
    "dns-rebinding-protection",
)
REVISIONS: dict[str, tuple[str, ...]] = {
    "2025-11-25": (*_BOTH, "server-initialize", "ping", "server-session-lifecycle"),
    "2026-07-28": (
        *_BOTH,
        "sep-2164-resource-not-found",
        "caching",
        "input-required-result-missing-input-response",
        "input-required-result-unsupported-methods",
        "input-required-result-ignore-extra-params",
        "input-required-result-validate-input",
    ),
}
"""Scenarios that must pass, by revision."""

BY_A_REFUSAL = (
    "tools-call-simple-text",
    "tools-call-error",
    "input-required-result-missing-input-response",
    "input-required-result-unsupported-methods",
    "input-required-result-ignore-extra-params",
    "input-required-result-validate-input",
)
"""They pass with what is answered to a tool that there is not."""
ALL_BUT = {
    "server-stateless": {"sep-2575-server-rejects-undeclared-capability", "sep-2575-missing-capability-http-400"}
}
"""Scenarios that do not pass, by these checks alone."""

_TOOL = "calls a tool of the suite's own ({})"
_INPUT = "calls a tool of the suite's own that asks its host for input; pyro's tools never do"
NOT_FOR_US: dict[str, str] = {
    "server-stateless": "all of its checks pass but two, which call the suite's own `test_missing_capability`",
    "logging-set-level": "logging is deprecated in 2026-07-28 and not offered; pyro has its own history and logs",
    "completion-complete": "no completion is offered; the scenario completes a prompt of the suite's own",
    "tools-call-image": _TOOL.format("`test_image_content`"),
    "tools-call-audio": _TOOL.format("`test_audio_content`"),
    "tools-call-embedded-resource": _TOOL.format("`test_embedded_resource`"),
    "tools-call-mixed-content": _TOOL.format("`test_multiple_content_types`"),
    "tools-call-with-logging": _TOOL.format("`test_tool_with_logging`"),
    "tools-call-with-progress": _TOOL.format("`test_tool_with_progress`")
    + "; progress of pyro's own is tested over both transports",
    "tools-call-sampling": _TOOL.format("`test_sampling`") + "; pyro asks no model",
    "tools-call-elicitation": _TOOL.format("`test_elicitation`") + "; pyro asks no questions",
    "elicitation-sep1034-defaults": _TOOL.format("`test_elicitation_sep1034_defaults`"),
    "elicitation-sep1330-enums": _TOOL.format("`test_elicitation_sep1330_enums`"),
    "resources-read-text": "reads a resource of the suite's own (`test://static-text`)",
    "resources-read-binary": "reads a resource of the suite's own (`test://static-binary`); pyro has no binary ones",
    "resources-templates-read": "reads a resource of the suite's own (`test://template/…`)",
    "resources-subscribe": "subscriptions are offered in 2026-07-28 only, by `subscriptions/listen`",
    "resources-unsubscribe": "subscriptions are offered in 2026-07-28 only, by `subscriptions/listen`",
    "prompts-get-simple": "gets a prompt of the suite's own (`test_simple_prompt`)",
    "prompts-get-with-args": "gets a prompt of the suite's own (`test_prompt_with_arguments`)",
    "prompts-get-embedded-resource": "gets a prompt of the suite's own",
    "prompts-get-with-image": "gets a prompt of the suite's own; pyro's are text",
    **{
        f"input-required-result-{name}": _INPUT
        for name in (
            "basic-elicitation",
            "basic-sampling",
            "basic-list-roots",
            "request-state",
            "multiple-input-requests",
            "multi-round",
            "non-tool-request",
            "result-type",
            "tampered-state",
            "capability-check",
        )
    },
}

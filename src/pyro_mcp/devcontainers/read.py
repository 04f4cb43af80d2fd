"""Reads a devcontainer.json. Pure: text in, what a workspace is to be out.

Whatever the text is, something comes out: what is wrong or not followed is said by name, and nothing else happens.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pyro_mcp import jsonc
from pyro_mcp.devcontainers.variables import MAX_TEXT, TooLong, Variables
from pyro_mcp.visible import shortened as cut
from pyro_mcp.visible import visible

STAGES = ("onCreateCommand", "updateContentCommand", "postCreateCommand", "postStartCommand")
"""In the order in which they run, once when a workspace begins."""
SILENT = frozenset(
    {
        *("$schema", "name", "otherPortsAttributes", "shutdownAction", "overrideCommand", "init"),
        *("updateRemoteUserUID", "userEnvProbe", "waitFor", "workspaceFolder"),
    }
)
"""Without an effect here, or with one that a workspace has anyway."""
NEVER = {
    "initializeCommand": "would run on this computer, so it is never run",
    "mounts": "no directory of this computer is shown to a workspace",
    "workspaceMount": "no directory of this computer is shown to a workspace; the project is a copy in /workspace",
    "privileged": "a workspace has its own kernel, and commands run as root",
    "runArgs": "Docker arguments; Docker is not used",
    "capAdd": "a workspace has its own kernel, and commands run as root",
    "securityOpt": "Docker options; Docker is not used",
    "appPort": "services publish ports, where the user has allowed it",
    "postAttachCommand": "nobody attaches",
    "secrets": "the user gives secrets, with `--secret`",
}
"""What is passed over, and why."""
IMAGELESS = {
    "dockerComposeFile": "It needs Docker Compose, which pyro does not run",
}
MAX_VARIABLES = 256
MAX_ARGS = 64
MAX_FEATURES = 32
MAX_SCRIPT = 64 * 1024
"""Characters of all commands together."""
MAX_NOTES = 40
MAX_PORTS = 64
MAX_STEPS = 32
MAX_KEYS = 64
"""Globs of `setupKeys`."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_SIZE = re.compile(r"([0-9]{1,15})\s*([kmgt]?)i?b?", re.IGNORECASE)
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


@dataclass(frozen=True)
class Step:
    """One command of a stage: a line for the shell, or a program with its arguments."""

    label: str
    command: str | tuple[str, ...]


@dataclass(frozen=True)
class Stage:
    """The steps of a stage run side by side."""

    name: str
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Build:
    """How the image is built; the paths are relative to the file's folder."""

    dockerfile: str
    context: str = "."
    args: tuple[tuple[str, str], ...] = ()
    target: str | None = None


@dataclass
class Devcontainer:
    """What the file says, as far as it is followed; texts still hold their variables."""

    image: str | None = None
    build: Build | None = None
    features: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What is installed on top of the image, with its options, in the file's order."""
    feature_order: list[str] = field(default_factory=list)
    """`overrideFeatureInstallOrder`."""
    problem: str = ""
    """Why nothing of it is followed."""
    container_env: dict[str, str] = field(default_factory=dict)
    remote_env: dict[str, str] = field(default_factory=dict)
    container_user: str = ""
    remote_user: str = ""
    stages: list[Stage] = field(default_factory=list)
    ports: list[str] = field(default_factory=list)
    setup_keys: list[str] | None = None
    """Files, by globs, on whose contents its set-up depends; None where it says none."""
    cpus: int | None = None
    memory_bytes: int | None = None
    storage_bytes: int | None = None
    passed_over: list[str] = field(default_factory=list)
    """Properties that are not followed, each with the reason, at most `MAX_NOTES`."""
    notes: list[str] = field(default_factory=list)

    port_labels: dict[str, str] = field(default_factory=dict)
    """What `portsAttributes` calls a port."""

    def port(self, number: str) -> str:
        """A port with its label."""
        label = self.port_labels.get(number)
        return f"{number} ({label})" if label else number

    def over(self, name: str, why: str = "") -> None:
        shown = shortened(name, 64)
        if len(self.passed_over) < MAX_NOTES:
            self.passed_over.append(f"{shown}: {why}" if why else shown)


def shortened(text: str, most: int) -> str:
    """A text of the file's, harmless and brief."""
    return cut(visible(text[: 4 * most]), most)


def read(text: bytes) -> Devcontainer:
    """What a file says; of one that is not an object, the problem."""
    said = Devcontainer()
    try:
        value = jsonc.read(text.decode("utf-8-sig")).value
    except UnicodeDecodeError:
        said.problem = "It is not UTF-8"
        return said
    except (jsonc.NotJson, RecursionError) as error:
        said.problem = f"It cannot be read: {error or 'too deeply nested'}"
        return said
    if not isinstance(value, dict):
        said.problem = "It is not a JSON object"
        return said
    for name, part in value.items():
        reader = _READERS.get(name)
        if (name == "context" and "dockerFile" in value) or (value.get("image") and name in ("build", "dockerFile")):
            continue
        if reader is not None:
            reader(said, name, part)
        elif name in NEVER and part not in (None, False, [], {}, ""):
            said.over(name, NEVER[name])
        elif name == "workspaceFolder" and part not in ("/workspace", "${containerWorkspaceFolder}"):
            said.over(name, "the project is at /workspace")
        elif name not in SILENT and name not in NEVER and name not in IMAGELESS:
            said.over(name)
    if "dockerFile" in value and "context" in value and not value.get("image"):
        _build(said, "context", value["context"])
    said.stages.sort(key=lambda stage: STAGES.index(stage.name))
    if said.image is None and said.build is None:
        for name, why in IMAGELESS.items():
            if value.get(name):
                said.problem = why
                said.notes.append("Name an environment, and start the project's services in it.")
                break
    return said


# -- the properties


def _image(said: Devcontainer, name: str, value: Any) -> None:
    if isinstance(value, str) and 0 < len(value) <= 512 and value.isprintable():
        said.image = value
    elif value is not None:
        said.problem = "Its `image` is not an image name"


def _user(said: Devcontainer, name: str, value: Any) -> None:
    if not isinstance(value, str) or not _USER.fullmatch(value):
        said.over(name, "is no user's name")
        return
    if name == "containerUser":
        said.container_user = value
    else:
        said.remote_user = value


def _build(said: Devcontainer, name: str, value: Any) -> None:
    """`build`, or of old `dockerFile` beside `context`."""
    if said.build is not None and name == "context":
        if isinstance(value, str) and _sound(value):
            said.build = replace(said.build, context=value[:MAX_TEXT])
        return
    fields = value if isinstance(value, dict) else {"dockerfile": value} if name == "dockerFile" else {}
    file, context, target = fields.get("dockerfile"), fields.get("context", "."), fields.get("target")
    args = fields.get("args", {})
    sound = all(isinstance(each, str) and 0 < len(each) <= 4096 and _sound(each) for each in (file, context))
    if not sound or not (target is None or (isinstance(target, str) and target.isprintable())):
        said.problem = f"Its `{name}` names no Dockerfile"
        return
    kept: list[tuple[str, str]] = []
    for key, text in args.items() if isinstance(args, dict) else ():
        if isinstance(text, str) and _NAME.fullmatch(key) and len(text) <= MAX_TEXT and len(kept) < MAX_ARGS:
            kept.append((key, text))
        else:
            said.over(f"build.args.{key}", "is no argument of a build")
    for key in fields:
        if key not in ("dockerfile", "context", "args", "target"):
            said.over(f"build.{key}", "the builder is pyro's own")
    said.build = Build(str(file), str(context), tuple(kept), target)


def _features(said: Devcontainer, name: str, value: Any) -> None:
    if not isinstance(value, dict):
        said.over(name, "is no object")
        return
    for key, options in value.items():
        if options is False:
            continue
        wanted = options if isinstance(options, dict) else {"version": options} if isinstance(options, str) else {}
        if not 0 < len(key) <= 512 or not key.isprintable() or len(said.features) >= MAX_FEATURES:
            said.over(f"features.{key}", f"is no name of a feature, or one more than {MAX_FEATURES}")
        else:
            said.features[key] = wanted


def _feature_order(said: Devcontainer, name: str, value: Any) -> None:
    said.feature_order = [each for each in value if isinstance(each, str)][:64] if isinstance(value, list) else []


def _variables(said: Devcontainer, name: str, value: Any) -> None:
    taken = said.container_env if name == "containerEnv" else said.remote_env
    if not isinstance(value, dict):
        said.over(name, "is not an object")
        return
    for key, text in value.items():
        if text is None:
            continue
        if not isinstance(text, str | int | float | bool) or not _NAME.fullmatch(key):
            said.over(f"{name}.{key}", "is not a variable")
            continue
        text = ("true" if text else "false") if isinstance(text, bool) else str(text)
        if len(taken) >= MAX_VARIABLES or len(text) > MAX_TEXT or not _sound(text):
            said.over(f"{name}.{key}", f"is too long, one more than {MAX_VARIABLES}, or holds a NUL")
            continue
        taken[key] = text


def _sound(text: str) -> bool:
    if "\0" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True


def _command(value: Any) -> str | tuple[str, ...] | None:
    if isinstance(value, str) and len(value) <= MAX_TEXT and _sound(value):
        return value
    if not isinstance(value, list) or not 0 < len(value) <= 1000 or not value[0]:
        return None
    sound = all(isinstance(word, str) and _sound(word) for word in value)
    return tuple(value) if sound and sum(map(len, value)) <= MAX_TEXT else None


def _stage(said: Devcontainer, name: str, value: Any) -> None:
    if value is None or value in ("", [], {}):
        return
    named = value.items() if isinstance(value, dict) else [("", value)]
    steps = []
    for label, wanted in list(named)[:MAX_STEPS]:
        if wanted in ("", []):
            continue
        command = _command(wanted)
        if command is None:
            said.over(f"{name}.{label}" if label else name, "is not a command: a text, or a list of texts")
        elif isinstance(command, tuple) or command.strip():
            steps.append(Step(shortened(label, 64), command))
    if len(named) > MAX_STEPS:
        said.over(name, f"has more than {MAX_STEPS} commands; only the first {MAX_STEPS} are used")
    if steps:
        said.stages.append(Stage(name, tuple(steps)))


def _ports(said: Devcontainer, name: str, value: Any) -> None:
    for each in (value if isinstance(value, list) else [value])[:MAX_PORTS]:
        number = str(each).rpartition(":")[2] if isinstance(each, int | str) and not isinstance(each, bool) else ""
        if re.fullmatch("[0-9]{1,5}", number) and 0 < int(number) < 65536:
            said.ports.append(number)
        else:
            said.over(name, f"{shortened(ascii(each), 40)} is not a port")


def _port_labels(said: Devcontainer, name: str, value: Any) -> None:
    for number, attributes in list(value.items())[:MAX_PORTS] if isinstance(value, dict) else ():
        label = attributes.get("label") if isinstance(attributes, dict) else None
        if isinstance(label, str) and label and re.fullmatch("[0-9]{1,5}", number):
            said.port_labels[number] = shortened(label, 40)


def _requirements(said: Devcontainer, name: str, value: Any) -> None:
    if not isinstance(value, dict):
        said.over(name, "is not an object")
        return
    for key, wanted in value.items():
        if key == "cpus" and isinstance(wanted, int) and not isinstance(wanted, bool) and 0 < wanted < 10**6:
            said.cpus = wanted
        elif key in ("memory", "storage") and (size := _bytes(wanted)) is not None:
            if key == "memory":
                said.memory_bytes = size
            else:
                said.storage_bytes = size
        elif wanted not in (None, False, "optional"):
            said.over(f"{name}.{key}", "a workspace has none" if key == "gpu" else "")


def _bytes(value: Any) -> int | None:
    match = (
        _SIZE.fullmatch(str(value).strip()) if isinstance(value, str | int) and not isinstance(value, bool) else None
    )
    return int(match[1]) * _UNITS[match[2].lower()] if match else None


def _customizations(said: Devcontainer, name: str, value: Any) -> None:
    wishes = value.get("pyro") if isinstance(value, dict) else None
    if not isinstance(wishes, dict):
        return
    for key, wanted in wishes.items():
        if key == "network" and isinstance(wanted, str):
            if wanted != "off":
                said.notes.append(
                    f"It asks for network access ({shortened(wanted, 40)}); only the caller grants it (network_policy)."
                )
        elif key == "allowDomains" and isinstance(wanted, list):
            hosts = ", ".join(shortened(str(each), 80) for each in wanted[:20])
            said.notes.append(f"It asks to reach {hosts}; only the user allows hosts (`--allow-domain`).")
        elif key == "setupKeys" and _are_globs(wanted):
            said.setup_keys = wanted
        else:
            said.over(f"{name}.pyro.{key}")


def _are_globs(value: Any) -> bool:
    return (
        isinstance(value, list)
        and 0 < len(value) <= MAX_KEYS
        and all(isinstance(each, str) and 0 < len(each) <= 512 and _sound(each) for each in value)
    )


_READERS = {
    "image": _image,
    "build": _build,
    "dockerFile": _build,
    "features": _features,
    "remoteUser": _user,
    "containerUser": _user,
    "overrideFeatureInstallOrder": _feature_order,
    "containerEnv": _variables,
    "remoteEnv": _variables,
    **dict.fromkeys(STAGES, _stage),
    "forwardPorts": _ports,
    "portsAttributes": _port_labels,
    "hostRequirements": _requirements,
    "customizations": _customizations,
}


# -- with its variables put in


@dataclass(frozen=True)
class Ready:
    """What is done in a workspace on a certain image."""

    env: dict[str, str]
    stages: tuple[Stage, ...]


def ready(said: Devcontainer, basename: str, image_env: Mapping[str, str]) -> Ready:
    """The variables and commands as they are in a workspace; what is not followed is noted in `said`."""
    variables = Variables(basename, dict(image_env))
    env: dict[str, str] = {}
    for name, given in (("containerEnv", said.container_env), ("remoteEnv", said.remote_env)):
        added = {}
        for key, text in given.items():
            try:
                added[key] = variables.put_in(text)
            except TooLong:
                said.over(f"{name}.{key}", "is too long once its variables are filled in")
        env |= added
        variables.inside = {**variables.inside, **added}
    if sum(len(key) + len(value) for key, value in env.items()) > 4 * MAX_TEXT:
        said.over("containerEnv", f"has more than {4 * MAX_TEXT} characters in total; no variables are used")
        env = {}
    stages, length = [], 0
    for stage in said.stages:
        try:
            steps = tuple(Step(step.label, _filled(step.command, variables)) for step in stage.steps)
            length += sum(len(str(step.command)) for step in steps)
        except TooLong:
            length = MAX_SCRIPT + 1
        if length > MAX_SCRIPT:
            said.over(stage.name, f"is too long (at most {MAX_SCRIPT} characters); it and later commands were not run")
            break
        stages.append(Stage(stage.name, steps))
    if variables.not_read:
        names = ", ".join(shortened(each, 64) for each in variables.not_read)
        said.notes.append(f"This computer's environment is never read: {names} (localEnv) became a default or nothing.")
    return Ready(env, tuple(stages))


def _filled(command: str | tuple[str, ...], variables: Variables) -> str | tuple[str, ...]:
    if isinstance(command, str):
        return variables.put_in(command)
    filled = tuple(variables.put_in(word) for word in command)
    if sum(map(len, filled)) > MAX_TEXT:
        raise TooLong
    return filled

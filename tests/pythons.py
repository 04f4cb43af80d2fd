"""`make test-pythons`: the unit tests, with the wheel, on each Python that this computer or Debian's archive has.

A Python of this computer is used as it is. As root, with mmdebstrap, one of another release of Debian is unpacked
beside (kept in ~/.cache/pyro-pythons), and the tests run in that tree. What cannot be had is named, and fails nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path("~/.cache/pyro-pythons").expanduser()
UV = str(ROOT / "scripts" / "uv")
WANTED = ("3.11", "3.12", "3.13", "3.14")
RELEASES = {"3.13": "trixie", "3.14": "sid"}
"""Which release of Debian has it; none has 3.12."""
TESTERS = ("pytest", "pytest-timeout", "hypothesis", "grimp")
CHECKOUT = ("tests", "src", "docs", "examples", "benchmarks", "lab", "evals", "pyproject.toml", "Makefile")
TOOLS = {"TZ": "UTC", "LANG": "C.UTF-8", "HOME": "/root", "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"}


def say(text: str) -> None:
    print(f"== {text}", file=sys.stderr, flush=True)


def run(*argv: str, **more: object) -> None:
    subprocess.run(argv, check=True, **more)  # type: ignore[call-overload]


def of_this_computer(version: str) -> str | None:
    """On PATH, or one that pyenv keeps; a name on PATH may be pyenv's word for a version that is not switched on."""
    kept = sorted(Path("~/.pyenv/versions").expanduser().glob(f"{version}.*/bin/python{version}"))
    for candidate in (shutil.which(f"python{version}"), *map(str, kept)):
        if candidate and subprocess.run([candidate, "-c", ""], capture_output=True).returncode == 0:
            return candidate
    return None


def tree_with(version: str) -> Path | None:
    """A root file system of Debian with that Python, or None where it cannot be had."""
    release = RELEASES.get(version)
    if release is None or os.geteuid() != 0 or shutil.which("mmdebstrap") is None:
        return None
    place = CACHE / f"{release}-{version}"
    if not place.exists():
        say(f"Python {version} from Debian {release}")
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as work:
            tree = Path(work) / "tree"
            packages = f"python{version},python{version}-venv,git,ca-certificates"
            environment = {**os.environ, "TMPDIR": work}
            done = subprocess.run(
                ["unshare", "--mount", "--propagation=private", "mmdebstrap", "--mode=root", "--variant=apt",
                 '--aptopt=APT::Install-Recommends "false"',
                 # A mirror that stands still for a while is as good: what is fetched is signed.
                 '--aptopt=Acquire::Check-Valid-Until "false"', f"--include={packages}", release, str(tree)],
                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900, env=environment,
            )  # fmt: skip
            if done.returncode:
                say(done.stderr[-2000:])
                return None
            os.rename(tree, place)
    return place


def within(tree: Path, place: Path, script: str) -> list[str]:
    """The command that runs a script in that tree, where `place` is /pyro."""
    enter = (
        'mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && mkdir -p "$0/pyro" && '
        'mount --bind "$1" "$0/pyro" && exec chroot "$0" /bin/sh -c "$2"'
    )
    namespaces = ["unshare", "--mount", "--pid", "--fork", "--propagation=private"]
    return [*namespaces, "sh", "-c", enter, str(tree), str(place), f"cd /pyro && {script}"]


def prepare(place: Path) -> None:
    """The wheel, what the lock file says of versions, and the tests; nothing of the checkout is imported but tests."""
    run(UV, "build", "--quiet", "--wheel", "--out-dir", str(place / "dist"), str(ROOT))
    with (place / "constraints.txt").open("w") as file:
        run(UV, "export", "--quiet", "--frozen", "--no-emit-project", "--no-hashes", cwd=ROOT, stdout=file)
    shutil.copy(ROOT / ".tools" / "bin" / "uv", place / "uv")
    for name in (*CHECKOUT, *(page.name for page in ROOT.glob("*.md"))):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, place / "checkout" / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, place / "checkout" / name)


def script(python: str, base: str, where: str) -> str:
    return (
        f"{where}/uv venv --quiet --clear --python {base} {where}/{python} && "
        f"{where}/uv pip install --quiet --python {where}/{python}/bin/python --constraint {where}/constraints.txt "
        f"{where}/dist/*.whl {' '.join(TESTERS)} && cd {where}/checkout && "
        f"HYPOTHESIS_PROFILE=quick ../{python}/bin/python -m pytest tests/unit -p no:cacheprovider"
    )


def main() -> int:
    said: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="pyro-pythons-", dir="/var/tmp") as work:
        place = Path(work)
        place.chmod(0o755)
        prepare(place)
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        authorities = os.environ.get("SSL_CERT_FILE")
        for version in sys.argv[1:] or WANTED:
            base = of_this_computer(version)
            tree = None if base else tree_with(version)
            if base is None and tree is None:
                said[version] = "could not be had here"
                continue
            say(f"tests/unit on Python {version}, {base or tree}")
            if tree is None:
                argv = ["sh", "-c", script(version, str(base), str(place))]
                ended = subprocess.run(argv, env=environment)
            else:
                if authorities:
                    shutil.copy(authorities, place / "authorities.pem")
                    environment |= {"SSL_CERT_FILE": "/pyro/authorities.pem"}
                shutil.copy("/etc/resolv.conf", tree / "etc" / "resolv.conf")
                argv = within(tree, place, script(version, f"/usr/bin/python{version}", "/pyro"))
                ended = subprocess.run(argv, env={**environment, **TOOLS})
            said[version] = "passed" if ended.returncode == 0 else "FAILED"
    for version, result in said.items():
        print(f"Python {version}: {result}")
    return int("FAILED" in said.values())


if __name__ == "__main__":
    sys.exit(main())

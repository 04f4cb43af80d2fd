"""The directory of environments, shared by processes that pull, remove and die: nothing is torn or stays."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pyro_mcp.environments.cache import EnvironmentCache, Manifest, remove_tree
from pyro_mcp.environments.oci.layers import LayerStore
from pyro_mcp.environments.oci.pull import pull
from pyro_mcp.environments.oci.reference import parse
from tests.images import layer, layout, member

PULL = """
import sys
from pathlib import Path
from pyro_mcp.environments.cache import EnvironmentCache
from pyro_mcp.environments.oci.pull import pull
from pyro_mcp.environments.oci.reference import parse
cache = EnvironmentCache(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.read(1)
print(pull(parse(sys.argv[2]), cache, "", lambda text, fraction: None).digest)
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("image") / "app"
    return layout(
        place,
        [layer(member("d"), *(member(f"d/{n}", b"x" * n) for n in range(300))), layer(member("top", b"t"))],
    )


def left(cache: EnvironmentCache) -> list[str]:
    """What is neither a build, a layer, a name nor a lock."""
    found = [*cache.root.glob(".*"), *(cache.root / "staging").iterdir(), *cache.layers.glob(".staging-*")]
    return [str(path) for path in found]


def test_one_image_by_many_names_from_many_processes_at_once(
    cache: EnvironmentCache, image: Path, tmp_path: Path
) -> None:
    places = [image]
    for number in range(2):
        (tmp_path / f"twin{number}").symlink_to(image)
        places.append(tmp_path / f"twin{number}")
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", PULL, str(cache.root), f"oci:{place}:latest"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for place in [*places, image]
    ]
    for worker in workers:
        assert worker.stdout is not None and worker.stdout.readline() == "ready\n"
    said = [worker.communicate("go")[0].strip() for worker in workers]
    assert len(set(said)) == 1 and said[0], said
    assert len(cache.names()) == len(places) and set(cache.names().values()) == {said[0]}
    assert cache.sound(said[0]) and len(list((cache.tree(said[0]) / "d").iterdir())) == 300
    assert left(cache) == []


def test_the_same_build_installed_by_many_at_once_is_there_once(
    cache: EnvironmentCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where one of them is overtaken is where it goes wrong: they meet there, unless something keeps them apart.
    meeting = threading.Barrier(4)
    aside = EnvironmentCache._put_aside

    def put_aside(self: EnvironmentCache, digest: str) -> None:
        aside(self, digest)
        with contextlib.suppress(threading.BrokenBarrierError):
            meeting.wait(0.2)

    monkeypatch.setattr(EnvironmentCache, "_put_aside", put_aside)
    for turn in range(2):
        digest = f"{turn:024x}"
        start = threading.Barrier(4)

        def install(number: int, digest: str = digest, start: threading.Barrier = start) -> None:
            staged = cache.root / "staging" / f"{'ab' * 8}.{number}"
            (staged / "root").mkdir(parents=True)
            (staged / "root" / "f").write_text("same")
            os.utime(staged / "root" / "f", (1, 1))
            start.wait()
            cache.install(staged, Manifest(f"name{number}", digest, "oci-1", "", 0, {}))

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(install, range(4)))
        assert cache.sound(digest) and left(cache) == []


def test_no_layer_goes_while_an_image_is_put_together(cache: EnvironmentCache, image: Path) -> None:
    """In another process even: a tree that loses files while it is linked would pass for whole."""
    made = pull(parse(f"oci:{image}:latest"), cache, "", lambda text, fraction: None)
    store = LayerStore(cache.layers)
    there = sorted(path.name for path in cache.layers.iterdir() if path.is_dir())
    assert len(there) == 2
    with store.used():
        LayerStore(cache.layers).prune(set, everything=True)
        assert sorted(path.name for path in cache.layers.iterdir() if path.is_dir()) == there
    store.prune(lambda: set(made.layers[:1]), everything=True)
    assert [path.name for path in cache.layers.iterdir() if path.is_dir()] == [made.layers[0].removeprefix("sha256:")]


def test_what_killed_processes_left_is_swept_and_the_work_of_living_ones_is_not(
    cache: EnvironmentCache, image: Path
) -> None:
    made = pull(parse(f"oci:{image}:latest"), cache, "", lambda text, fraction: None)
    ended = subprocess.Popen(["true"])
    ended.wait()
    staging = cache.root / "staging"
    for pid, kept in ((ended.pid, False), (os.getpid(), True)):
        for name in (f"save-{pid}-0a1b", f"{'ab' * 8}.{pid}"):
            (staging / name / "root").mkdir(parents=True)
            (staging / name / "root" / "f").write_text(str(kept))
        (staging / f"root-{pid}-0a1b.tar").write_text(str(kept))
    (staging / "debian-12.1").mkdir()
    # A removal that is killed at its beginning, as `env remove` may be.
    begun = subprocess.Popen(
        [sys.executable, "-c", f"import shutil, os, signal\nfrom pathlib import Path\n"
         "shutil.rmtree = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)\n"
         f"from pyro_mcp.environments.cache import remove_tree\nremove_tree(Path({str(cache.root / made.digest)!r}))"]
    )  # fmt: skip
    assert begun.wait() == -signal.SIGKILL
    assert cache.manifest(made.digest) is None and list(cache.root.glob(".doomed-*"))
    cache.sweep()
    mine = {f"save-{os.getpid()}-0a1b", f"{'ab' * 8}.{os.getpid()}", f"root-{os.getpid()}-0a1b.tar", "debian-12.1"}
    assert {path.name for path in staging.iterdir()} == mine and not list(cache.root.glob(".doomed-*"))
    # The name that means nothing any more is made good by the next pull.
    assert cache.current(f"oci:{image}:latest") is None
    again = pull(parse(f"oci:{image}:latest"), cache, "", lambda text, fraction: None)
    assert again.digest == made.digest and cache.sound(again.digest)


def test_a_full_disk_leaves_no_half_build(cache: EnvironmentCache, image: Path, tmp_path: Path) -> None:
    """On a real small file system, where this user may mount one."""
    small = tmp_path / "small"
    small.mkdir()
    script = f"mount -t tmpfs -o size=256k none {small} && exec {sys.executable} -c {shlex.quote(FULL)} {small} {image}"
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True)
    if "mount" in done.stderr or "unshare" in done.stderr:
        pytest.skip("this user cannot mount a small file system")
    assert done.stdout.split() == ["refused", "0", "0"], (done.stdout, done.stderr)


FULL = (
    "import sys; from pathlib import Path; from pyro_mcp.environments.cache import EnvironmentCache as C; "
    "from pyro_mcp.environments.oci.pull import pull; from pyro_mcp.environments.oci.reference import parse\n"
    "c = C(Path(sys.argv[1]) / 'c')\n"
    "try: pull(parse('oci:' + sys.argv[2] + ':latest'), c, '', lambda t, f: None); print('pulled')\n"
    "except OSError as e: print('refused' if e.errno == 28 else repr(e))\n"
    "print(len(c.builds()), len(list((c.root / 'staging').iterdir())))\n"
)


def test_removing_what_is_not_there_is_nothing(tmp_path: Path) -> None:
    remove_tree(tmp_path / "nothing")
    assert list(tmp_path.iterdir()) == []

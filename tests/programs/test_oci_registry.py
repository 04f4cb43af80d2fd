"""Pulling from a real registry on loopback, in this process: resumed, logged in, mirrored, the same as by umoci."""

from __future__ import annotations

import base64
import json
import os
import stat
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyro_mcp.daemon import environment_service
from pyro_mcp.environments.cache import EnvironmentCache
from pyro_mcp.environments.oci import manifest as manifests
from pyro_mcp.environments.oci import registry as registries
from pyro_mcp.environments.oci.pull import pull
from pyro_mcp.environments.oci.reference import Reference, parse
from pyro_mcp.environments.oci.registry import Registry
from pyro_mcp.errors import EngineError, InvalidInput, NotFound, NotPermitted, PyroError, Unsupported
from tests.images import busybox_layer, digest, hard_link, layer, layout, member, needs, push, registry, symlink


def quiet(text: str, fraction: float | None) -> None:
    pass


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry with `app:1`, of which the second layer has two megabytes that do not compress."""
    needs("skopeo", "docker-registry")
    place = tmp_path_factory.mktemp("served")
    layout(place / "app", [layer(member("f", b"one")), layer(member("big", os.urandom(2 << 20)))], Env=["WHO=app"])
    with registry(place / "registry") as host:
        push(f"oci:{place}/app:latest", f"{host}/team/app:1")
        push(f"oci:{place}/app:latest", f"{host}/library/app:1")
        yield host


def test_an_image_comes_by_tag_and_by_digest(served: str, cache: EnvironmentCache) -> None:
    said: list[tuple[str, float | None]] = []
    found = pull(parse(f"{served}/team/app:1"), cache, "", lambda text, fraction: said.append((text, fraction)))
    assert found.runtime["env"] == {"WHO": "app"}
    assert (cache.tree(found.digest) / "f").read_text() == "one"
    assert any("of 2.1 MB" in text for text, _ in said), said
    fractions = [fraction for _, fraction in said if fraction is not None]
    assert fractions[0] == 0 and fractions[-1] == 1
    by_digest = pull(parse(f"{served}/team/app@{found.source}"), cache, "", quiet)
    assert by_digest.digest == found.digest and found.source.startswith("sha256:")
    assert sorted(cache.names()) == sorted([f"{served}/team/app:1", f"{served}/team/app@{found.source}"])
    with pytest.raises(NotFound, match="no such image"):
        pull(parse(f"{served}/team/app:2"), cache, "", quiet)
    with pytest.raises(NotFound, match="no such image"):
        pull(parse(f"{served}/team/app@sha256:{'0' * 64}"), cache, "", quiet)


def test_a_download_goes_on_where_it_stopped(served: str, tmp_path: Path) -> None:
    remote = Registry(parse(f"{served}/team/app:1"))
    wanted = manifests.read_manifest(remote.manifest("1")[0]).layers[1]
    into, came = tmp_path / "blob", list[int]()
    remote.blob(wanted, into, came.append)
    whole = into.read_bytes()
    assert digest(whole) == wanted.digest
    into.write_bytes(whole[: 1 << 20])
    came.clear()
    remote.blob(wanted, into, came.append)
    assert came[0] > 1 << 20 and into.read_bytes() == whole
    # What stands there is not this blob's: it is noticed, not used, and not in the way of the next attempt.
    into.write_bytes(b"x" * (1 << 20))
    with pytest.raises(InvalidInput, match="other bytes"):
        remote.blob(wanted, into, came.append)
    assert not into.exists()
    into.write_bytes(b"x" * (5 << 20))
    remote.blob(wanted, into, came.append)
    assert into.read_bytes() == whole
    remote.close()


def test_a_mirror_stands_in_for_docker_hub_and_for_nobody_else(served: str, cache: EnvironmentCache) -> None:
    found = pull(parse("app:1"), cache, served, quiet)
    assert found.name == "docker.io/library/app:1"
    assert (cache.tree(found.digest) / "f").read_text() == "one"
    with pytest.raises(NotFound):
        pull(parse(f"{served}/other/app:1"), cache, served, quiet)


def test_who_is_logged_in_pulls_and_who_is_not_hears_it(
    cache: EnvironmentCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("skopeo", "docker-registry")
    layout(tmp_path / "app", [layer(member("f", b"one"))])
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    (tmp_path / "docker").mkdir()
    config = tmp_path / "docker" / "config.json"
    with registry(tmp_path / "registry", password=True) as host:
        push(f"oci:{tmp_path}/app:latest", f"{host}/app:1", "--dest-creds=me:secret")

        def attempt() -> str:
            return pull(parse(f"{host}/app:1"), cache, "", quiet).digest

        with pytest.raises(NotPermitted, match="log in") as refused:
            attempt()
        assert host in refused.value.hint
        for damaged in ("{", "[]", '{"auths": []}', json.dumps({"auths": {host: {"auth": "%%%"}}})):
            config.write_text(damaged)
            with pytest.raises(NotPermitted):
                attempt()
        wrong = base64.b64encode(b"me:wrong").decode()
        config.write_text(json.dumps({"auths": {host: {"auth": wrong}}}))
        with pytest.raises(NotPermitted) as refused:
            attempt()
        assert "wrong" not in str(refused.value) and wrong not in str(refused.value)
        config.write_text(json.dumps({"auths": {host: {"auth": base64.b64encode(b"me:secret").decode()}}}))
        digest_of = attempt()
        # The same by a helper, which is asked on its standard input.
        helper = tmp_path / "docker-credential-test"
        helper.write_text(f'#!/bin/sh\nread h; [ "$h" = {host} ] && echo \'{{"Username":"me","Secret":"secret"}}\'\n')
        helper.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        config.write_text(json.dumps({"credHelpers": {host: "test"}}))
        assert attempt() == digest_of
        config.write_text(json.dumps({"credsStore": "../../bin/sh"}))
        with pytest.raises(NotPermitted):
            attempt()


def test_the_right_one_of_several_platforms_is_taken(served: str, tmp_path: Path, cache: EnvironmentCache) -> None:
    place = layout(tmp_path / "app", [layer(member("f", b"mine"))])
    own = json.loads((place / "index.json").read_text())["manifests"][0]
    own = {key: own[key] for key in ("mediaType", "digest", "size")}
    own["platform"] = {"os": "linux", "architecture": manifests.architecture()}
    other = {**own, "digest": digest(b"other"), "platform": {"os": "linux", "architecture": "s390x"}}
    proof = {**own, "digest": digest(b"proof"), "platform": {"os": "unknown", "architecture": "unknown"}}
    index = json.dumps(
        {"schemaVersion": 2, "mediaType": manifests.INDEXES[0], "manifests": [other, proof, own]}
    ).encode()
    assert manifests.choose(index).digest == own["digest"]
    foreign = json.dumps({"schemaVersion": 2, "manifests": [other, proof]}).encode()
    with pytest.raises(Unsupported, match="linux/s390x"):
        manifests.choose(foreign)
    push(f"oci:{place}:latest", f"{served}/multi:own")
    # A real registry takes an index whose parts it does not have only from those that it does have.
    single = json.dumps({"schemaVersion": 2, "mediaType": manifests.INDEXES[0], "manifests": [own]}).encode()
    request = urllib.request.Request(
        f"http://{served}/v2/multi/manifests/all", single, {"Content-Type": manifests.INDEXES[0]}, method="PUT"
    )
    urllib.request.urlopen(request).close()
    found = pull(parse(f"{served}/multi:all"), cache, "", quiet)
    assert (cache.tree(found.digest) / "f").read_text() == "mine"


def test_archives_are_images_as_well(served: str, tmp_path: Path, cache: EnvironmentCache) -> None:
    layout(tmp_path / "app", [layer(member("f", b"one")), layer(member("g", b"two"))])
    policy = ["skopeo", "--insecure-policy", "copy", "-q"]
    for kind, target in (("docker-archive", "d.tar:app:1"), ("oci-archive", "o.tar:1")):
        subprocess.run([*policy, f"oci:{tmp_path}/app:latest", f"{kind}:{tmp_path}/{target}"], check=True)
    trees = [
        cache.tree(pull(parse(text), cache, "", quiet).digest)
        for text in (
            f"docker-archive:{tmp_path}/d.tar",
            f"docker-archive:{tmp_path}/d.tar:app:1",
            f"oci-archive:{tmp_path}/o.tar:1",
            f"oci:{tmp_path}/app:latest",
        )
    ]
    assert {(tree / "g").read_text() for tree in trees} == {"two"}
    for text, word in ((f"docker-archive:{tmp_path}/d.tar:app:2", "app:1"), (f"oci:{tmp_path}/app:no", "latest")):
        with pytest.raises(InvalidInput, match=word):
            pull(parse(text), cache, "", quiet)
    with pytest.raises(NotFound):
        pull(parse(f"oci:{tmp_path}/nowhere"), cache, "", quiet)


def _tree(root: Path) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    for directory, names, files in os.walk(root):
        for name in (*names, *files):
            path = Path(directory, name)
            info, relative = path.lstat(), str(path.relative_to(root))
            kind = stat.S_IFMT(info.st_mode)
            content = (
                os.readlink(path) if path.is_symlink() else digest(path.read_bytes()) if stat.S_ISREG(kind) else ""
            )
            time = info.st_mtime_ns if stat.S_ISREG(kind) else 0
            found[relative] = (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid, kind, content, time)
    return found


@pytest.mark.skipif(os.geteuid() != 0, reason="umoci gives files to their owners as root only")
def test_the_tree_is_the_one_that_umoci_makes(tmp_path: Path, cache: EnvironmentCache) -> None:
    needs("umoci")
    layers = [
        busybox_layer(),
        layer(
            member("d/one", b"1"), member("d/two", b"2", uid=1000, gid=1001, mode=0o6755), member("e/f/g", b"3"),
            hard_link("d/three", "d/two"), member("gone/a", b"a"), member("gone/b", b"b"), member("opaque/a", b"a"),
        ),
        layer(
            member("d/.wh.one", b""), member(".wh.gone", b""), member("gone/c", b"c"), member("opaque/b", b"b"),
            member("opaque/.wh..wh..opq", b""), member("e", mode=0o700, type=b"5"), symlink("e/f", "/elsewhere"),
            member("d/two", b"other"), member("bin/.wh.vi", b""), member("d/four/five", b"5"),
        ),
    ]  # fmt: skip
    place = layout(tmp_path / "image", layers)
    subprocess.run(
        ["umoci", "unpack", "--image", f"{place}:latest", str(tmp_path / "bundle")], check=True, capture_output=True
    )
    ours = _tree(cache.tree(pull(parse(f"oci:{place}"), cache, "", quiet).digest))
    theirs = _tree(tmp_path / "bundle" / "rootfs")
    added = set(ours) - set(theirs)
    assert set(theirs) <= set(ours)
    assert {path.split("/")[0] for path in added} <= {
        "workspace", "pyro", "proc", "sys", "dev", "root", "run", "var", "etc",
    }  # fmt: skip
    assert {path: ours[path] for path in theirs} == theirs


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("node:22", "docker.io/library/node:22"),
        ("grafana/grafana", "docker.io/grafana/grafana:latest"),
        ("docker://ghcr.io/a/b:c", "ghcr.io/a/b:c"),
        ("index.docker.io/library/node:22", "docker.io/library/node:22"),
        ("127.0.0.1:5000/a:b", "127.0.0.1:5000/a:b"),
        ("localhost/a", "localhost/a:latest"),
        ("[::1]:5000/a:b", "[::1]:5000/a:b"),
        (f"a:tag@sha256:{'a' * 64}", f"docker.io/library/a@sha256:{'a' * 64}"),
        ("oci:/a/../b:t", "oci:/b:t"),
    ],
)
def test_a_reference_has_one_spelling(text: str, name: str) -> None:
    assert parse(text).name == name
    assert parse(parse(text).name) == parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "", ":", "a:", "a:b:c:d", "A/b:c", "a//b:c", "../a:b", "http://a/b:c", "a@md5:00", "a@sha256:00", "a:b\n",
        "-a:b", "oci:relative", "a/b:" + "t" * 200, "x" * 600, "a:b@", "evil.com\\x/a:b", "user@host/a:b", "a:$(id)",
    ],
)  # fmt: skip
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse(text)


def test_credentials_and_plain_text_stay_on_loopback(tmp_path: Path) -> None:
    def base(host: str) -> str:
        return Registry(Reference("registry", host, "a", "b"))._base

    assert base("registry.example.com:5000").startswith("https://")
    assert base("10.0.0.1:5000").startswith("https://")
    assert base("127.0.0.1.example.com").startswith("https://")
    assert base("127.0.0.1:5000").startswith("http://")
    far = Registry(Reference("registry", "registry.example.com", "a", "b"))
    for location in (
        "http://registry.example.com/x",
        "http://127.0.0.1/x",
        "file:///etc/passwd",
        "",
        "https://[",
        "https://a:b/",
    ):
        with pytest.raises(EngineError):
            far._redirected("https://registry.example.com/v2/", location, registries.MAX_REDIRECTS + (location == ""))
    with pytest.raises(PyroError):
        far._log_in('Bearer realm="http://127.0.0.1:1/token",service="x"')


def test_a_model_names_only_images_that_the_user_or_docker_stands_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name in a stranger's registry is a message to the stranger; a file is the user's."""
    may = environment_service.refuse_what_the_user_did_not_choose
    for name in ("node:22", "docker.io/library/python:3.13"):
        may(parse(name))
    for name in (
        "evil.example/secret:1", "evil/secret:1", "127.0.0.1:5000/a:b", "ghcr.io/acme/app:1", "oci:/home/me/image",
        "docker.io/library/../evil/x:1", "docker.io/library/a/b:1",
    ):  # fmt: skip
        with pytest.raises((NotPermitted, InvalidInput)) as refused:
            may(parse(name))
        assert isinstance(refused.value, InvalidInput) or f"pyro env pull {parse(name).name}" in refused.value.hint
    monkeypatch.setenv(environment_service.IMAGES, "ghcr.io/acme/*, quay.io/x/y:*")
    may(parse("ghcr.io/acme/app:1"))
    may(parse("quay.io/x/y:2"))
    with pytest.raises(NotPermitted):
        may(parse("ghcr.io.evil.example/acme/app:1"))

"""Who a user is in an environment, by lists of accounts that a stranger wrote."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.environments.accounts import owner
from pyro_mcp.errors import InvalidInput
from pyro_mcp.seeds.scan import scan
from pyro_mcp.seeds.store import SeedStore

PASSWD = (
    "root:x:0:0:root:/root:/bin/bash\nnode:x:1000:1000::/home/node:/bin/sh\r\n1234:x:1005:7::/n:/bin/sh\n"
    "# a comment\n\n:::::\nshort:x:9\nfar:x:4294967295:1:::\nminus:x:-1:-1:::\nodd:x:¹:1:::\n"
)
GROUP = "root:x:0:\nnode:x:1000:\nstaff:x:50:other,node\nodd:x\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "passwd").write_text(PASSWD)
    (tmp_path / "etc" / "group").write_text(GROUP)
    return tmp_path


@pytest.mark.parametrize(
    ("user", "ids"),
    [
        ("", (0, 0)), ("root", (0, 0)), ("0:0", (0, 0)), ("node", (1000, 1000)), ("1000", (1000, 1000)),
        ("node:staff", (1000, 50)), ("1000:5", (1000, 5)), ("1234", (1005, 7)), ("4321", (4321, 0)),
        ("4321:4321", (4321, 4321)), ("2147483647:50", (2147483647, 50)),
    ],
)  # fmt: skip
def test_who_is_meant_is_as_the_agent_has_it(root: Path, user: str, ids: tuple[int, int]) -> None:
    """The same cases stand in agent/user_test.go."""
    assert owner(root, user) == ids


@pytest.mark.parametrize(
    "user",
    ["nobody", "node:nogroup", "far", "minus", "-1", "2147483648", "1000:-1", "node:", "short", "0x10", "odd", " "],
)
def test_whom_it_does_not_have_is_refused_in_words(root: Path, user: str) -> None:
    with pytest.raises(InvalidInput, match=r"This environment has no (user|group)"):
        owner(root, user)


def test_links_and_what_is_no_file_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text(PASSWD)
    (tmp_path / "root" / "etc").mkdir(parents=True)
    passwd = tmp_path / "root" / "etc" / "passwd"
    for target in (str(tmp_path / "outside"), "../../outside", "passwd"):
        passwd.symlink_to(target)
        with pytest.raises(InvalidInput):
            owner(tmp_path / "root", "node")
        assert owner(tmp_path / "root", "12:34") == (12, 34)
        passwd.unlink()
    os.mkfifo(passwd)
    with pytest.raises(InvalidInput):
        owner(tmp_path / "root", "node")


@given(st.text(max_size=40), st.binary(max_size=200))
def test_any_user_and_any_list_give_ids_or_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, user: str, text: bytes
) -> None:
    place = tmp_path_factory.mktemp("root")
    (place / "etc").mkdir()
    (place / "etc" / "passwd").write_bytes(text)
    try:
        assert all(0 <= each < 2**31 for each in owner(place, user))
    except InvalidInput as error:
        assert error.message.isprintable()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_seed_belongs_to_whom_it_is_made_for(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "d").mkdir(parents=True)
    (source / "d" / "f").write_text("x")
    (source / "l").symlink_to("nowhere")
    store = SeedStore(tmp_path / "seeds")
    ours, theirs = store.materialise(scan(source)), store.materialise(scan(source), None, (1000, 1001))
    assert ours.digest != theirs.digest
    for seed, ids in ((ours, (0, 0)), (theirs, (1000, 1001))):
        for path in (seed.tree, seed.tree / "d", seed.tree / "d" / "f", seed.tree / "l"):
            info = path.lstat()
            assert (info.st_uid, info.st_gid) == ids
    assert store.find(theirs.digest) is not None

"""Landing a workspace's changes as a branch: real repositories, and nothing but the branch may change."""

from __future__ import annotations

import errno
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyro_mcp.errors import Conflict, EngineError, InvalidInput
from pyro_mcp.landing import objects, repository
from pyro_mcp.landing.land import Landed, land
from pyro_mcp.patches.diff import DiffEntry, FileVersion
from pyro_mcp.paths import is_dot_git

DIR = FileVersion("dir", mode=0o755)
TEN = b"".join(b"line %d\n" % i for i in range(10))


def text(content: bytes | str, mode: int = 0o644) -> FileVersion:
    return FileVersion("file", content.encode() if isinstance(content, str) else content, mode)


def link(target: bytes) -> FileVersion:
    return FileVersion("symlink", target, 0o777)


def change(path: str, old: FileVersion | None, new: FileVersion | None) -> DiffEntry:
    return DiffEntry(path, old, new)


def git(repo: Path, *arguments: str, stdin: bytes = b"", check: bool = True) -> str:
    done = subprocess.run(["git", *arguments], cwd=repo, input=stdin, capture_output=True, check=False)
    if check:
        assert done.returncode == 0, done.stderr
    return os.fsdecode(done.stdout).removesuffix("\n")


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A user with a name, and a temporary directory that must be empty afterwards."""
    for name in [name for name in os.environ if name.startswith(("GIT_", "XDG_CONFIG"))]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("EMAIL", raising=False)
    home, scratch = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    scratch.mkdir()
    (home / ".gitconfig").write_text(
        "[user]\n\tname = Ann\n\temail = ann@example.org\n[init]\n\tdefaultBranch = main\n"
    )
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    yield
    assert list(scratch.iterdir()) == []


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    path = tmp_path / "re po"
    path.mkdir()
    git(path, "init", "-q")
    (path / "a.txt").write_bytes(TEN)
    (path / "run.sh").write_text("#!/bin/sh\n")
    (path / "d").mkdir()
    (path / "d" / "x").write_text("x\n")
    (path / "d" / "y").write_text("y\n")
    git(path, "add", "-A")
    git(path, "commit", "-qm", "first")
    return path


def head(repo: Path) -> str:
    return git(repo, "rev-parse", "HEAD")


def refs(repo: Path) -> str:
    return git(repo, "for-each-ref")


def files(repo: Path, commit: str) -> dict[str, str]:
    """Path to `mode content`, of all files in the commit."""
    found = {}
    for record in git(repo, "ls-tree", "-rz", commit).split("\0"):
        if record:
            meta, _, path = record.partition("\t")
            mode, _, blob = meta.split(" ")
            found[path] = mode + " " + git(repo, "cat-file", "blob", blob + "") if mode != "160000" else mode
    return found


def put(repo: Path, *entries: DiffEntry, branch: str = "work", base: str | None = "HEAD", prefix: str = "") -> Landed:
    commit = head(repo) if base == "HEAD" else base
    return land(repo, prefix, entries, base_commit=commit, branch=branch, message="Change it")


EDIT = change("a.txt", text(TEN), text(TEN.replace(b"line 2\n", b"line two\n")))


def test_a_new_branch_holds_the_change_on_top_of_the_seeds_commit(repo: Path) -> None:
    landed = put(repo, EDIT)
    assert landed.created and landed.backup_ref is None
    assert landed.parent == head(repo) == git(repo, "rev-parse", "work^")
    assert landed.commit == git(repo, "rev-parse", "work")
    assert (landed.files, landed.insertions, landed.deletions) == (1, 1, 1)
    assert git(repo, "show", "work:a.txt").count("line two") == 1
    assert git(repo, "log", "-1", "--format=%an <%ae> %cn %s", "work") == "Ann <ann@example.org> Ann Change it"
    git(repo, "fsck", "--strict")


def test_an_author_may_be_given_and_the_committer_stays_the_user(repo: Path) -> None:
    land(repo, "", [EDIT], base_commit=None, branch="work", message="m", author=("Bot", "bot@x"))
    assert git(repo, "log", "-1", "--format=%an <%ae> %cn", "work") == "Bot <bot@x> Ann"


def test_the_recorded_commit_is_the_parent_even_when_head_went_on(repo: Path) -> None:
    seed = head(repo)
    git(repo, "commit", "-qm", "later", "--allow-empty")
    assert put(repo, EDIT, base=seed).parent == seed


@pytest.mark.parametrize("gone", ["0" * 40, "not a commit", "--help"])
def test_a_recorded_commit_that_is_gone_is_replaced_by_head(repo: Path, gone: str) -> None:
    assert put(repo, EDIT, base=gone).parent == head(repo)


def test_an_existing_branch_gets_a_three_way_merge_and_a_backup(repo: Path) -> None:
    seed = head(repo)
    git(repo, "checkout", "-qb", "work")
    (repo / "a.txt").write_bytes(TEN.replace(b"line 8\n", b"line eight\n"))
    (repo / "other").write_text("other\n")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "second")
    git(repo, "checkout", "-q", "main")
    tip = git(repo, "rev-parse", "work")
    landed = put(repo, EDIT, base=seed)
    assert not landed.created and landed.parent == tip and landed.backup_ref is not None
    assert landed.backup_ref.startswith("refs/pyro/backup/work/")
    assert git(repo, "rev-parse", landed.backup_ref) == tip
    content = git(repo, "show", "work:a.txt")
    assert "line two" in content and "line eight" in content
    assert "other" in files(repo, "work")


def test_a_file_that_the_branch_renamed_gets_the_change_under_its_new_name(repo: Path) -> None:
    seed = head(repo)
    git(repo, "checkout", "-qb", "work")
    git(repo, "mv", "a.txt", "b.txt")
    git(repo, "commit", "-qm", "rename")
    git(repo, "checkout", "-q", "main")
    put(repo, EDIT, base=seed)
    assert "line two" in git(repo, "show", "work:b.txt")


def test_a_conflict_names_the_files_and_changes_nothing(repo: Path) -> None:
    seed = head(repo)
    git(repo, "checkout", "-qb", "work")
    (repo / "a.txt").write_bytes(TEN.replace(b"line 2\n", b"line deux\n"))
    git(repo, "commit", "-qam", "second")
    git(repo, "checkout", "-q", "main")
    before = refs(repo)
    with pytest.raises(Conflict) as caught:
        put(repo, EDIT, change("new", None, text("n")), base=seed)
    assert caught.value.code == "landing_conflict"
    assert caught.value.details == {"files": ["a.txt"], "uncommitted": []}
    assert "a.txt" in caught.value.message and "new branch" in caught.value.hint
    assert refs(repo) == before


def test_a_file_in_the_way_of_a_directory_is_a_conflict_under_its_own_name(repo: Path) -> None:
    seed = head(repo)
    git(repo, "checkout", "-qb", "work")
    (repo / "new").mkdir()
    (repo / "new" / "x").write_text("x")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "second")
    git(repo, "checkout", "-q", "main")
    with pytest.raises(Conflict) as caught:
        put(repo, change("new", None, text("n")), base=seed)
    assert caught.value.details["files"] == ["new"]


def test_uncommitted_work_elsewhere_in_a_file_stays_out_of_the_branch(repo: Path) -> None:
    dirty = TEN.replace(b"line 8\n", b"uncommitted\n")
    (repo / "a.txt").write_bytes(dirty)
    put(repo, change("a.txt", text(dirty), text(dirty.replace(b"line 2\n", b"line two\n"))))
    content = git(repo, "show", "work:a.txt")
    assert "line two" in content and "line 8" in content and "uncommitted" not in content


def test_uncommitted_work_on_the_same_lines_is_a_conflict_that_says_so(repo: Path) -> None:
    dirty = TEN.replace(b"line 2\n", b"uncommitted\n")
    with pytest.raises(Conflict) as caught:
        put(repo, change("a.txt", text(dirty), text(TEN.replace(b"line 2\n", b"line two\n"))))
    assert caught.value.details == {"files": ["a.txt"], "uncommitted": ["a.txt"]}
    assert "a.txt had uncommitted changes" in caught.value.message
    assert git(repo, "branch", "--list", "work") == ""


def test_an_edit_of_an_untracked_file_is_a_conflict(repo: Path) -> None:
    with pytest.raises(Conflict):
        put(repo, change("untracked", text("1\n"), text("2\n")))


def test_a_new_file_where_the_commit_has_an_unseeded_directory_is_a_conflict(repo: Path) -> None:
    with pytest.raises(Conflict):
        put(repo, change("d", None, text("file\n")))
    with pytest.raises(Conflict):
        put(repo, change("a.txt", None, DIR), change("a.txt/in", None, text("file\n")))


def test_a_deleted_directory_keeps_what_the_workspace_never_had(repo: Path) -> None:
    put(repo, change("d", DIR, None), change("d/x", text("x\n"), None))
    assert set(files(repo, "work")) == {"a.txt", "run.sh", "d/y"}


def test_work_tree_and_index_are_not_touched(repo: Path) -> None:
    (repo / "a.txt").write_bytes(b"staged\n")
    git(repo, "add", "a.txt")
    (repo / "a.txt").write_bytes(b"dirty\n")
    (repo / "untracked").write_text("u")

    def state() -> tuple[object, ...]:
        index = repo / ".git" / "index"
        kept = [(p, p.stat().st_mtime_ns, p.read_bytes()) for p in sorted(repo.iterdir()) if p.is_file()]
        status = git(repo, "--no-optional-locks", "status", "--porcelain=v2", "-z")
        return index.read_bytes(), index.stat().st_mtime_ns, kept, status, git(repo, "rev-parse", "HEAD")

    before = state()
    git_dir = set(os.listdir(repo / ".git"))
    put(repo, change("d/x", text("x\n"), text("xx\n")))
    put(repo, change("d/x", text("x\n"), text("xx\n")), change("d/y", text("y\n"), text("yy\n")))
    assert state() == before
    assert set(os.listdir(repo / ".git")) == git_dir


def test_no_program_of_the_repositorys_runs(repo: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    for hook in ("reference-transaction", "pre-commit", "post-commit", "post-index-change", "commit-msg"):
        file = repo / ".git" / "hooks" / hook
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"#!/bin/sh\necho hook {hook} >> '{ran}'\n")
        file.chmod(0o755)
    (tmp_path / "evil").write_text(f"#!/bin/sh\necho $* >> '{ran}'\nexit 0\n")
    (tmp_path / "evil").chmod(0o755)
    seed = head(repo)
    for branch in ("work", "second"):
        git(repo, "-c", "core.hooksPath=/dev/null", "branch", branch)
    for setting in ("core.fsmonitor", "filter.f.clean", "merge.m.driver", "diff.d.textconv", "gpg.program"):
        git(repo, "-c", "core.hooksPath=/dev/null", "config", setting, str(tmp_path / "evil"))
    for setting, value in (("commit.gpgSign", "true"), ("core.autocrlf", "true"), ("merge.default", "m")):
        git(repo, "config", setting, value)
    (repo / ".git" / "info").mkdir(exist_ok=True)
    (repo / ".git" / "info" / "attributes").write_text("* merge=m diff=d text eol=crlf ident\n")
    put(repo, change("a.txt", text(TEN), text(b"$Id$\r\n" + TEN)), base=seed)
    put(repo, change("a.txt", text(TEN), text(TEN + b"end\n")), base=seed)
    assert not ran.exists()
    assert files(repo, "work")["a.txt"] == "100644 " + ((b"$Id$\n" + TEN + b"end").decode())
    assert "gpgsig" not in git(repo, "cat-file", "commit", "work")


def test_a_branch_in_use_is_refused(repo: Path, tmp_path: Path) -> None:
    git(repo, "worktree", "add", "-q", "-b", "linked", str(tmp_path / "lin\nked"))
    before = refs(repo)
    for branch in ("main", "linked"):
        with pytest.raises(Conflict) as caught:
            put(repo, EDIT, branch=branch)
        assert caught.value.code == "branch_checked_out"
    with pytest.raises(Conflict):
        put(tmp_path / "lin\nked", EDIT, branch="main")
    assert refs(repo) == before


def test_a_branch_in_a_rebase_is_refused(repo: Path) -> None:
    git(repo, "checkout", "-q", "--detach")
    git(repo, "branch", "work")
    (repo / ".git" / "rebase-merge").mkdir()
    (repo / ".git" / "rebase-merge" / "head-name").write_text("refs/heads/work\n")
    with pytest.raises(Conflict, match="rebase"):
        put(repo, EDIT)


def test_without_a_look_at_the_other_work_trees_nothing_is_moved(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (repo / ".git" / "worktrees").mkdir()
    before, listed = refs(repo), os.listdir

    def full(place: str | Path) -> list[str]:
        if str(place).endswith("/worktrees"):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return listed(place)

    monkeypatch.setattr(os, "listdir", full)
    with pytest.raises(EngineError, match="worktrees` cannot be read: Too many open files"):
        put(repo, EDIT)
    assert refs(repo) == before


def test_a_symbolic_branch_is_refused(repo: Path) -> None:
    git(repo, "branch", "real")
    git(repo, "symbolic-ref", "refs/heads/work", "refs/heads/real")
    with pytest.raises(Conflict, match="symbolic"):
        put(repo, EDIT)


def test_undo_takes_a_new_branch_away_and_puts_a_moved_one_back(repo: Path, tmp_path: Path) -> None:
    before = refs(repo)
    landed = put(repo, EDIT)
    assert landed.undo == f"git -C '{repo}' update-ref -d refs/heads/work {landed.commit}"
    subprocess.run(landed.undo, shell=True, check=True, cwd=tmp_path)
    assert refs(repo) == before
    git(repo, "branch", "work")
    tip = git(repo, "rev-parse", "work")
    landed = put(repo, EDIT)
    subprocess.run(landed.undo, shell=True, check=True, cwd=tmp_path)
    assert git(repo, "rev-parse", "work") == tip
    # It undoes only what it knows.
    assert subprocess.run(landed.undo, shell=True, check=False, capture_output=True, cwd=tmp_path).returncode


def test_modes_links_binaries_renames_and_deletions(repo: Path) -> None:
    binary = bytes(range(256)) * 4
    landed = put(
        repo,
        change("run.sh", text("#!/bin/sh\n"), text("#!/bin/sh\n", 0o755)),
        change("ln", None, link(b"../else where/\xff")),
        change("bin", None, text(binary)),
        change("crlf", None, text(b"a\r\nb\r\n")),
        change("a.txt", text(TEN), None),
        change("moved.txt", None, text(TEN)),
        change("d/y", text("y\n"), None),
    )
    found = files(repo, "work")
    assert found["run.sh"].startswith("100755 ")
    assert found["ln"] == "120000 " + os.fsdecode(b"../else where/\xff")
    assert os.fsencode(found["bin"].removeprefix("100644 ")) == binary
    assert found["crlf"] == "100644 a\r\nb\r"
    assert "a.txt" not in found and "d/y" not in found and found["moved.txt"].startswith("100644 line 0")
    assert landed.files == 6  # the rename is one


def test_directories_and_files_change_places(repo: Path) -> None:
    put(
        repo,
        change("d", DIR, text("now a file\n")),
        change("d/x", text("x\n"), None),
        change("d/y", text("y\n"), None),
        change("a.txt", text(TEN), DIR),
        change("a.txt/in", None, link(b"x")),
        change("run.sh", text("#!/bin/sh\n"), link(b"d")),
    )
    found = files(repo, "work")
    assert set(found) == {"d", "a.txt/in", "run.sh"}
    put(
        repo,
        change("d", text("now a file\n"), DIR),
        change("d/x", None, text("x\n")),
        change("a.txt", DIR, text(TEN)),
        change("a.txt/in", link(b"x"), None),
        branch="back",
        base=git(repo, "rev-parse", "work"),
    )
    assert set(files(repo, "back")) == {"d/x", "a.txt", "run.sh"}
    git(repo, "fsck", "--strict")


def test_empty_directories_become_trailers(repo: Path) -> None:
    entries = [EDIT, change("var", None, DIR), change("var/em pty", None, DIR), change("b\ná", None, DIR)]
    entries += [change(" end ", None, DIR), change("gone", DIR, None), change("full", None, DIR)]
    entries += [change("full/f", None, text("f"))]
    landed = land(repo, "", entries, base_commit=None, branch="work", message="Subject\n\nBody: text\nis here")
    assert landed.empty_directories == ['" end "', '"b\\n\\303\\241"', "var/em pty"]
    shown = git(repo, "log", "-1", "--format=%(trailers:key=Pyro-Empty-Directory,valueonly)", "work")
    assert shown.splitlines() == landed.empty_directories
    landed = land(repo, "", entries, base_commit=None, branch="two", message="Subject\n\nSigned-off-by: Ann <a@b>\n")
    assert "Signed-off-by: Ann <a@b>\nPyro-Empty-Directory" in git(repo, "log", "-1", "--format=%B", "two")


def test_entries_lie_below_the_prefix(repo: Path) -> None:
    landed = put(repo, change("x", text("x\n"), text("xx\n")), change("n/e", None, DIR), prefix="d/")
    assert files(repo, "work")["d/x"] == "100644 xx"
    assert landed.empty_directories == ["d/n/e"]
    assert put(repo / "d", change("y", text("y\n"), None), prefix="d", branch="other").files == 1
    assert set(files(repo, "other")) == {"a.txt", "run.sh", "d/x"}


def test_a_linked_worktree_lands_on_its_own_head(repo: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    git(repo, "worktree", "add", "-q", "-b", "side", str(linked))
    git(linked, "commit", "-qm", "side", "--allow-empty")
    landed = put(linked, EDIT, base=None)
    assert landed.parent == git(repo, "rev-parse", "side")
    assert git(repo, "rev-parse", "work") == landed.commit
    subprocess.run(landed.undo, shell=True, check=True)
    assert git(repo, "branch", "--list", "work") == ""


def test_a_bare_repository_takes_branches_but_not_its_heads(repo: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.git"
    git(repo, "clone", "-q", "--bare", str(repo), str(bare))
    landed = put(bare, EDIT)
    assert "line two" in git(bare, "show", "work:a.txt")
    with pytest.raises(Conflict) as caught:
        put(bare, EDIT, branch="main")
    assert caught.value.code == "branch_checked_out"
    subprocess.run(landed.undo, shell=True, check=True)
    assert git(bare, "branch", "--list", "work") == ""


@pytest.mark.parametrize("form", ["sha1", "sha256"])
def test_a_repository_without_commits_gets_a_root_commit(tmp_path: Path, form: str) -> None:
    empty = tmp_path / "empty"
    git(tmp_path, "init", "-q", f"--object-format={form}", str(empty))
    with pytest.raises(Conflict) as caught:
        put(empty, change("f", None, text("f\n")), branch="main", base=None)
    assert caught.value.code == "branch_checked_out"
    landed = put(empty, change("f", None, text("f\n")), base=None)
    assert landed.parent == "" and git(empty, "rev-list", "work") == landed.commit
    assert (landed.files, landed.insertions, landed.deletions) == (1, 1, 0)
    assert files(empty, "work") == {"f": "100644 f"}
    landed = put(empty, change("g", None, text("g\n")), base=None)
    assert set(files(empty, "work")) == {"f", "g"}
    git(empty, "fsck", "--strict")


def test_odd_names_survive(repo: Path) -> None:
    names = ["new\nline", "tab\t", "sp ace", "q\"uote'", "back\\slash", os.fsdecode(b"\xff\xfe"), "é", "-f", ":(glob)*"]
    put(repo, *[change(f"o {name}/{name}", None, text(f"{number}\n")) for number, name in enumerate(names)])
    found = files(repo, "work")
    assert [found[f"o {name}/{name}"] for name in names] == [f"100644 {number}" for number in range(len(names))]
    put(repo, *[change(f"o {name}/{name}", None, text(f"{number}\n")) for number, name in enumerate(names)], branch="b")


def test_odd_branches_and_repositories_work(tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"-o 'd\"\n\xff")
    git(tmp_path, "init", "-q", "./" + odd.name)
    landed = put(odd, change("f", None, text("f")), base=None, branch="é/$(touch)'")
    subprocess.run(os.fsencode(landed.undo), shell=True, check=True)
    assert refs(odd) == ""


@pytest.mark.parametrize(
    "path",
    [".git", ".git/config", "a/.git/hooks/x", ".GIT/x", "a/.git.", "GIT~1/x", ".g\u200cit/x", "a\\.git", ".git:x"],
)
def test_git_directories_are_left_out(repo: Path, path: str) -> None:
    assert is_dot_git(path)
    put(repo, EDIT, change(path, None, text("x")))
    assert set(files(repo, "work")) == {"a.txt", "run.sh", "d/x", "d/y"}
    with pytest.raises(InvalidInput) as caught:
        put(repo, change(path, None, text("x")))
    assert caught.value.code == "nothing_to_land"


@pytest.mark.parametrize("path", [".gitignore", ".github/x", "a.git", "x/git", ".gitx"])
def test_other_names_with_git_in_them_are_taken(repo: Path, path: str) -> None:
    put(repo, change(path, None, text("x")))
    assert path in files(repo, "work")


@pytest.mark.parametrize("path", ["../x", "/x", "a//b", "a/./b", "", "a\0b"])
def test_paths_that_lead_elsewhere_are_refused(repo: Path, path: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        put(repo, change(path, None, text("x")))
    assert caught.value.code == "bad_path"


def test_a_path_that_git_refuses_is_the_callers_error(repo: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        put(repo, change(".gitmodules", None, link(b"x")))
    assert caught.value.code == "bad_path"
    assert git(repo, "branch", "--list", "work") == ""


def test_submodules_are_left_as_they_are(repo: Path) -> None:
    git(repo, "update-index", "--add", "--cacheinfo", f"160000,{head(repo)},sub")
    git(repo, "commit", "-qm", "sub")
    put(repo, EDIT, change("sub", DIR, None))
    assert files(repo, "work")["sub"] == "160000"
    with pytest.raises(Conflict) as caught:
        put(repo, change("sub/f", None, text("f")), branch="other")
    assert caught.value.code == "submodule_changed"


def test_a_user_without_a_name_lands_as_pyro(repo: Path, tmp_path: Path) -> None:
    (tmp_path / "home" / ".gitconfig").write_text("[core]\n\tlogAllRefUpdates = always\n")
    if git(repo, "config", "--get", "user.name", check=False):
        pytest.skip("this computer has a name for all users")
    put(repo, EDIT)
    assert git(repo, "log", "-1", "--format=%an <%ae> %cn <%ce>", "work") == " ".join(["pyro <pyro@localhost>"] * 2)
    put(repo, EDIT, change("n", None, text("n")))


def test_nothing_to_land(repo: Path) -> None:
    for entries in ([], [change("a.txt", text(TEN), text(TEN, 0o600))], [change("e", None, DIR)]):
        with pytest.raises(InvalidInput) as caught:
            put(repo, *entries)
        assert caught.value.code == "nothing_to_land"
    with pytest.raises(InvalidInput, match="directories alone"):
        put(repo, change("e", None, DIR))


def test_landing_twice_says_that_it_is_there(repo: Path) -> None:
    put(repo, EDIT)
    before = refs(repo)
    with pytest.raises(InvalidInput) as caught:
        put(repo, EDIT)
    assert caught.value.code == "already_landed"
    assert refs(repo) == before


@pytest.mark.parametrize(
    "branch", ["-f", "--", "", "a..b", "a b", "x.lock", "@{-1}", "@", "HEAD", "a\0b", "refs/heads/x", "a\nb"]
)
def test_bad_branch_names_are_refused(repo: Path, branch: str) -> None:
    git(repo, "checkout", "-qb", "previous")
    git(repo, "checkout", "-q", "main")
    with pytest.raises(InvalidInput) as caught:
        put(repo, EDIT, branch=branch)
    assert caught.value.code == "bad_branch_name"


def test_a_branch_below_a_branch_is_a_conflict(repo: Path) -> None:
    git(repo, "branch", "work")
    before = refs(repo)
    with pytest.raises(Conflict, match="refs/heads/work"):
        put(repo, EDIT, branch="work/sub")
    assert refs(repo) == before


def test_what_is_no_repository_is_refused(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "missing"):
        with pytest.raises(InvalidInput) as caught:
            put(place, EDIT, base=None)
        assert caught.value.code == "not_a_repository" and "--repo" in caught.value.hint


@pytest.mark.parametrize("exists", [True, False])
def test_a_branch_that_moves_meanwhile_is_not_overwritten(
    repo: Path, monkeypatch: pytest.MonkeyPatch, exists: bool
) -> None:
    if exists:
        git(repo, "branch", "work")
    git(repo, "commit", "-qm", "later", "--allow-empty")
    real = objects.Objects.commit

    def moving(*arguments: object) -> str:
        git(repo, "branch", "-f", "work", "main")
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(objects.Objects, "commit", moving)
    with pytest.raises(Conflict) as caught:
        put(repo, EDIT)
    assert caught.value.code == "branch_moved"
    assert git(repo, "rev-parse", "work") == head(repo)
    assert "backup" not in refs(repo)


def test_a_git_that_hangs_is_ended_with_a_clear_error(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = head(repo)
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\nexec sleep 30\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(repository, "GIT_SECONDS", 0.2)
    with pytest.raises(EngineError) as caught:
        put(repo, EDIT, base=seed)
    assert caught.value.code == "git_timeout"


def test_variables_of_git_do_not_lead_elsewhere(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seed = head(repo)
    monkeypatch.setenv("GIT_DIR", str(tmp_path))
    monkeypatch.setenv("GIT_INDEX_FILE", str(repo / ".git" / "index"))
    landed = put(repo, EDIT, base=seed)
    monkeypatch.undo()
    assert git(repo, "rev-parse", "work") == landed.commit


def test_thousands_of_files_land_in_one_go(repo: Path) -> None:
    landed = put(repo, *[change(f"many/{i % 50}/{i}", None, text(f"{i}\n")) for i in range(3000)])
    assert (landed.files, landed.insertions) == (3000, 3000)


@pytest.mark.parametrize("author", [("", "a@b"), ("A\nB", "a@b"), ("A", "a>b")])
def test_a_bad_author_or_message_is_refused(repo: Path, author: tuple[str, str]) -> None:
    with pytest.raises(InvalidInput) as caught:
        land(repo, "", [EDIT], base_commit=None, branch="work", message="m", author=author)
    assert caught.value.code == "bad_author"
    with pytest.raises(InvalidInput) as caught:
        land(repo, "", [EDIT], base_commit=None, branch="work", message=" \n")
    assert caught.value.code == "bad_message"

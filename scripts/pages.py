"""Lays the guides out for mkdocs in build/pages, each at its place in the repository, so that their links hold."""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "build" / "pages"
NAMED = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "LICENSE", "benchmarks/README.md")
LISTED = ("examples",)
"""Folders that pages link to: a page that lists what is in them, with the files."""


def main() -> None:
    """Make build/pages anew."""
    shutil.rmtree(PAGES, ignore_errors=True)
    for path in [ROOT / name for name in NAMED] + sorted((ROOT / "docs").rglob("*.md")):
        place = PAGES / path.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    for name in LISTED:
        files = sorted(p for p in (ROOT / name).rglob("*.py") if p.name != "__init__.py")
        lines = [f"# {name.capitalize()}", ""]
        for file in files:
            lines += [f"## {file.relative_to(ROOT / name)}", "", "```python", file.read_text().rstrip(), "```", ""]
        (PAGES / f"{name}.md").write_text("\n".join(lines))
    readme = (PAGES / "README.md").read_text()
    (PAGES / "README.md").write_text(readme.replace("(examples/)", "(examples.md)"))


if __name__ == "__main__":
    main()

"""Patches and diffs: text in, a plan or text out. Knows no workspace and no guest."""

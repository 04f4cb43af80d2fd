"""The files of a machine, through its agent: listing, reading, searching, editing, what changed. Knows no workspace."""

"""The chat host's own program inside a workspace: what it is, how its machine is made, and what it is told there."""

"""Answers of public package registries, fetched by the daemon itself and kept for all workspaces."""

"""Engines and the machines they run. Nothing here knows of workspaces."""

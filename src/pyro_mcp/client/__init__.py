"""Talking to the daemon."""

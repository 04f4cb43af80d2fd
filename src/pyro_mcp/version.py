"""The version of pyro, and of the protocol between its clients and its daemon."""

VERSION = "4.0.0"
PROTOCOL = 2
"""Counts the changes of it; a daemon of a higher one replaces the others."""
SERVES = 1
"""The lowest protocol whose clients this daemon serves."""

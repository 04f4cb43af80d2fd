"""The version of pyro, and of the protocol between its clients and its daemon."""

VERSION = "0.1.0"
PROTOCOL = 1

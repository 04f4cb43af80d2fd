"""A workspace's way out: where it may connect to, and the proxy that enforces it."""

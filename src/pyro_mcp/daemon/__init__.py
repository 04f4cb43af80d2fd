"""The per-user daemon: it owns machines, ports, proxies and time limits."""

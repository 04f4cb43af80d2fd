"""An evaluation of pyro's tools with a real model; see README.md."""

"""A project's own file, devcontainer.json (containers.dev): found, read, and turned into what a workspace is to be.

It is untrusted text. What it may say ends in the guest: an image's name, variables, command lines, wishes for size.
What would reach this computer is passed over by name (`read.py`).
"""

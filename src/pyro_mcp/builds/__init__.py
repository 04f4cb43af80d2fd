"""What a Dockerfile's build is made of, as far as this machine reads it: which images it begins with, and which files
of its context go along.

Both are untrusted text. Nothing of it runs here: the build itself is buildah's, in a machine (`script`).
"""

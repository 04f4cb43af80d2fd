"""Container images as environments: where they are, how they are fetched, and how their layers become a tree.

`reference` and `manifest` are pure; `registry` and `local` are the two kinds of sources; `layer` reads one layer,
`compose` puts layers together. All of it runs in a process of its own (`environments.worker`), inside the enclosure:
bytes of strangers are read there, and neither the daemon's event loop nor its memory takes part.
"""

"""What an operation is, and the facts of each of them as a table that loads in a moment.

Nothing here imports `typing` when it is loaded: it is a tenth of what the command line takes to start.
"""

"""Fuzzing of every parser of bytes from the other side: `make fuzz SECONDS=600`, a short form in `make test`."""

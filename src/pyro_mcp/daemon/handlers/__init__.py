"""The daemon's side of every operation: methods of the same names, one class per area."""

"""The evaluation itself, tried."""

"""A process that is followed, what it printed, and what its terminal shows."""

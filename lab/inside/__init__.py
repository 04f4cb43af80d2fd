"""What runs inside the emulated computer."""

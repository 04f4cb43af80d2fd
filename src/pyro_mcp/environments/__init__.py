"""Root file systems by name: what they consist of, how they are built, where they are kept."""

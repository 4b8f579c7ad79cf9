"""Which optimizer: every one with the same budget of configurations and seeds, and what chance would explain."""

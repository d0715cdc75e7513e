"""Step 2, scans -> a prepared pair: one grid, one scale, one place; every step has its inverse."""

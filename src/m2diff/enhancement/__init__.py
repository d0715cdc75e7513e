"""A scan and weights in, the standard-dose scan out, on the scan's own grid and in its unit."""

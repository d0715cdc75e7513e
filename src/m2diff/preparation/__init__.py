"""Prepare a scan and its MRI: one grid, one scale, one place; every step has its inverse."""

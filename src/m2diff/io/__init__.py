"""Scans in, volumes out, units kept; every file appears whole or not at all."""

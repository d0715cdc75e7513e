"""The brain's regions from a T1-weighted MRI: a small network in the template's space (docs/regions.md)."""

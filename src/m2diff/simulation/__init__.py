"""Simulate a cohort when no scan may be shared: anatomy -> tracer -> scanner -> BIDS data set."""

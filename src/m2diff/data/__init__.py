"""From prepared volumes to what a network reads: views, the training cache, splits by person."""

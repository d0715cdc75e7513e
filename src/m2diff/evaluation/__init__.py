"""Step 6, honest scores: metrics, regions, lesions, dose equivalence and comparisons, all inside a fixed brain mask."""

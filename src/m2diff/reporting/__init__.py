"""Step 7, the report: one self-contained page for a person to look at. It shows what was measured, measures nothing."""

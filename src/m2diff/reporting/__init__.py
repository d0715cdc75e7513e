"""Write the report: one self-contained page of what was measured."""

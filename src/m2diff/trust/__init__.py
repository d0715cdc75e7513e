"""What of an answer can be trusted: regional balance, intervals, and what could be hiding (docs/trust.md)."""

"""Compare methods on equal terms: same data, same budget, same scored people; one page of results."""

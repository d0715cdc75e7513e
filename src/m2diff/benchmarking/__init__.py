"""Every method on equal terms: trained on the same data with the same budget, scored on the same people, one page."""

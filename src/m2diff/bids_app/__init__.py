"""The BIDS-App (Gorgolewski et al. 2017): ``participant`` enhances every scan, ``group`` makes the table of all."""

"""Read scans as volumes, write results; units stay, and every file is written whole or not at all."""

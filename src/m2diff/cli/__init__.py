"""The command line: ``app`` mounts one file a verb; ``options`` and ``console`` are what they share."""

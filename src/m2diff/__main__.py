"""``python -m m2diff``: the command line."""

from m2diff.cli.app import main

if __name__ == "__main__":
    main()

"""Lets `python -m memtwin` be the command `memtwin`."""

from memtwin.cli.main import main

if __name__ == "__main__":
    main()

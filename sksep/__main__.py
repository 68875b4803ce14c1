"""The command, as ``python -m sksep``."""

from sksep.cli import main

if __name__ == "__main__":
    main()

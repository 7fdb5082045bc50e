"""`python -m causalnb` is the command `causalnb`."""

from causalnb.cli import main

if __name__ == "__main__":
    main()

"""`python -m nextframe`: the same as the command `nextframe`."""

from nextframe.runtime.cli.app import main

if __name__ == "__main__":
    main()

"""`python -m freelabels` is the command `freelabels`."""

from freelabels.cli.main import main

if __name__ == "__main__":
    main()

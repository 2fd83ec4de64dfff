"""`python -m supervise`: the daemon's command line."""

from supervise.cli.supervise import main

if __name__ == "__main__":
    main()

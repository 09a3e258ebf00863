"""`python -m learner`: the command line, however the package was installed."""

from learner.cli import main

if __name__ == "__main__":
    main()

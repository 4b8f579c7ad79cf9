"""`python -m descend` is `descend`."""

from descend.cli import main

main()

"""`python -m moore`."""

from moore.cli import main

main()

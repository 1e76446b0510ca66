"""`python -m runner` is `connbench`."""

from runner.cli import main

main()

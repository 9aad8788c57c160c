"""`python -m ohmstead`."""

from ohmstead.cli import main

main()

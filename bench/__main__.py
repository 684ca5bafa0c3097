"""`python -m bench`: see `bench.everything`."""

from bench.everything import main

main()

"""`python -m profiling.sampling`, below Python 3.15."""

import sys

from tachyscope.cli import main

if __name__ == "__main__":
    sys.exit(main())

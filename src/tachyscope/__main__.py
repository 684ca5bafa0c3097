"""`python -m tachyscope`."""

import sys

from tachyscope.cli import main

if __name__ == "__main__":
    sys.exit(main())

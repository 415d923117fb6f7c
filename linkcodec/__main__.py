"""`python -m linkcodec` is the command line of `linkcodec.app.cli`."""

import sys

from linkcodec.app.cli import main

if __name__ == "__main__":
    sys.exit(main())

"""`python -m kerasmlp`: the command line, for a Python whose folder of scripts is not on the search path.

    python -m kerasmlp train digits --epochs 5

does the same as

    kerasmlp train digits --epochs 5

Several Pythons on one machine are a good reason to prefer this form: it leaves no doubt about which of them runs.
"""

import sys

from kerasmlp.cli.entry_point import main

if __name__ == "__main__":
    sys.exit(main())

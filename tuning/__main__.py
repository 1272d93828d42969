"""`python -m kerasmlp.tuning DATA ...`: the same as `kerasmlp tune DATA ...`."""

import sys

from kerasmlp.cli import main

raise SystemExit(main(["tune", *sys.argv[1:]]))

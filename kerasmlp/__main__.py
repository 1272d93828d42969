"""`python -m kerasmlp`: the command line."""

from kerasmlp.cli import main

raise SystemExit(main())

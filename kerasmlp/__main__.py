"""`python -m kerasmlp`: the command line."""

from kerasmlp.cli.parser import main

raise SystemExit(main())

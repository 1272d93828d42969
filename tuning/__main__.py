"""The tuning script: `python -m kerasmlp.tuning DATA ...` does the same as `kerasmlp tune DATA ...`.

Search the learning rate and the batch size for the built-in digits, then train the final network:

    python -m kerasmlp.tuning digits --trials 24 --out runs/search

Vary the network too, with four processes and a Bayesian oracle:

    python -m kerasmlp.tuning mnist.npz --vary hidden=128,256x128 --vary dropout=0:0.5 --oracle bayesian --workers 4

Give the same command again to continue a search that was interrupted. `--help` lists all options. The same search in a
program: `kerasmlp.tuning.search`.
"""

import sys

from kerasmlp.cli.entry_point import main

if __name__ == "__main__":
    raise SystemExit(main(["tune", *sys.argv[1:]]))

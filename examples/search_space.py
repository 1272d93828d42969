"""Searches for a good width, dropout and learning rate, and trains a network with the best of them.

Run it with `python examples/search_space.py [FOLDER]`.
"""

import json
import sys
import tempfile
from pathlib import Path

import kerasmlp
from kerasmlp.tuning import Range, Space, search

folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())

data = kerasmlp.load_data("digits")
space = Space(
    units=(32, 64, 128),  # one of these widths for the hidden layer
    dropout=Range(0, 0.3),
    learning_rate=Range(1e-4, 1e-2),  # sampled on a logarithmic scale
    batch_size=(32,),
)
run = search(data, sizes=[64, 64, 10], space=space, trials=6, epochs=3, final_epochs=10, out=folder / "run")

best = json.loads((run.path / "search" / "best.json").read_text())
print(f"Best of 6 trials: {best}")
print(f"Trained on these values: {run.metrics['test_accuracy']:.1%} of {len(data.test)} test examples are correct")

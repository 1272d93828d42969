"""Trains a network on a table with numbers, booleans, categories and missing values, and classifies a new row.

Run it with `python examples/csv_table.py [FOLDER]`.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

import kerasmlp

folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())

# A table of your own would already be a file. Roses have thorns and are larger here.
generator = np.random.default_rng(0)
is_rose = generator.random(600) < 0.5
table = pd.DataFrame(
    {
        "height": generator.normal(np.where(is_rose, 60, 40), 10).round(1),
        "thorns": np.where(is_rose, generator.random(600) < 0.9, False),
        "colour": np.where(generator.random(600) < 0.5, "red", np.where(is_rose, "white", "yellow")),
        "kind": np.where(is_rose, "rose", "tulip"),
    }
)
table.loc[::20, "height"] = np.nan
table.to_csv(folder / "flowers.csv", index=False)

data = kerasmlp.load_data(folder / "flowers.csv", target="kind", test_share=0.2)
model = kerasmlp.build_mlp(
    [data.num_features, 16, data.num_classes],
    input_shape=data.feature_shape,
    preprocessing=data.preprocessing(),
    seed=0,
)
run = kerasmlp.train(model, data, epochs=20, learning_rate=0.01, out=folder / "run")
print(f"{run.metrics['test_accuracy']:.1%} of {len(data.test)} test rows are correct")

# The columns may come in any order.
new = pd.DataFrame({"colour": ["white"], "thorns": [True], "height": [71.5]})
assert data.encoder is not None  # because the data are a table
probabilities = kerasmlp.open_artefact(run.path).probabilities(data.encoder.encode(new, source="new row"))
for name, probability in zip(data.class_names, probabilities[0], strict=True):
    print(f"{name}: {probability:.1%}")

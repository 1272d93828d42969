"""Predicts quantiles of a number, and intervals that hold the truth with a chosen probability.

Run it with `python examples/quantiles.py [FOLDER]`.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

import kerasmlp

folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())

# The larger a home, the more its price varies.
generator = np.random.default_rng(0)
size = generator.uniform(20, 200, 4000)
homes = pd.DataFrame({"size": size, "price": size * generator.normal(3000, 500, 4000)})

data = kerasmlp.data_from_frame(homes, "price", quantiles=(0.05, 0.5, 0.95), validation_share=0.2)
model = kerasmlp.build_mlp(
    [data.num_features, 32, data.num_outputs],
    input_shape=data.feature_shape,
    preprocessing=data.preprocessing(),
    postprocessing=data.postprocessing(),
    seed=0,
)
run = kerasmlp.train(model, data, epochs=20, learning_rate=0.01, out=folder / "run")
scores = kerasmlp.evaluate(run.path, data)
print(f"{scores.coverage:.1%} of the prices are between the quantiles 0.05 and 0.95")

assert data.encoder is not None  # because the data are a table
artefact = kerasmlp.open_artefact(run.path)
answers = artefact.answers(data.encoder.encode(pd.DataFrame({"size": [40.0, 160.0]}), source="new homes"))
intervals = artefact.task.with_coverage(answers, 0.8)["interval"]  # from the errors on the validation examples
for (low, median, high), (least, largest) in zip(answers[:, 0], intervals[:, 0], strict=True):
    print(f"median {median:,.0f}; quantiles {low:,.0f} to {high:,.0f}; 80% interval {least:,.0f} to {largest:,.0f}")

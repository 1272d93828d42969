"""Predicts several labels at once, with a threshold for each that is chosen on validation.

Run it with `python examples/several_labels.py [FOLDER]`.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

import kerasmlp

folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())

# A patient may have a flu, a cold, both or neither.
generator = np.random.default_rng(0)
temperature, coughs = generator.normal(37.5, 1, 3000).round(1), generator.random(3000) < 0.4
patients = pd.DataFrame(
    {
        "temperature": temperature,
        "coughs": coughs,
        "flu": (temperature > 38.5) & (generator.random(3000) < 0.8),
        "cold": coughs & (generator.random(3000) < 0.7),
    }
)

data = kerasmlp.data_from_frame(patients, ["flu", "cold"])  # several columns of booleans
model = kerasmlp.build_mlp(
    [data.num_features, 16, data.num_outputs],
    input_shape=data.feature_shape,
    preprocessing=data.preprocessing(),
    postprocessing=data.postprocessing(),
    seed=0,
)
run = kerasmlp.train(model, data, epochs=10, learning_rate=0.01, threshold="best-f1", out=folder / "run")
scores = kerasmlp.evaluate(run.path, data)
print(f"macro F1 {scores.macro_f1:.3f}")

assert data.encoder is not None  # because the data are a table
artefact = kerasmlp.open_artefact(run.path)
new = pd.DataFrame({"temperature": [39.5, 36.8], "coughs": [True, False]})
for answer in artefact.task.predictions(artefact.answers(data.encoder.encode(new, source="new patients"))):
    print(", ".join(answer["labels"]) or "none")

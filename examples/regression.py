"""Predicts a number, and exports a TFLite file that answers in the number's own unit.

Run it with `python examples/regression.py [FOLDER]`.
"""

import sys
import tempfile
from pathlib import Path

import kerasmlp
from kerasmlp.export import export_tflite

folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())

data = kerasmlp.load_data("diabetes")  # 442 patients and how far their disease went, as a number from 25 to 346
model = kerasmlp.build_mlp(
    [data.num_features, 32, data.num_outputs],
    input_shape=data.feature_shape,
    preprocessing=data.preprocessing(),
    postprocessing=data.postprocessing(),  # from standardised numbers to the unit of the target
    seed=0,
)
run = kerasmlp.train(model, data, epochs=20, out=folder / "run")
scores = kerasmlp.evaluate(run.path, data)
print(f"RMSE {scores.rmse:.1f}; always predicting the mean: {scores.mean_rmse:.1f}")

(report,) = export_tflite(run, folder / "mobile", quantize=["float32"], data=data)
artefact = kerasmlp.open_artefact(report.path)
for answer, truth in zip(artefact.answers(data.test.features[:3]), data.test.labels, strict=False):
    print(f"predicted {answer[0]:.0f}, true {truth[0]:.0f}")

"""Trains a network on scans of handwritten digits, exports it for phones, and evaluates the exported files.

Run it with `python examples/digits.py [FOLDER]`.
"""

import sys
import tempfile
from pathlib import Path

import kerasmlp
from kerasmlp.export import export_tflite

folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())

data = kerasmlp.load_data("digits")  # 1,797 scans of 8 x 8 pixels, which come with scikit-learn
model = kerasmlp.build_mlp(
    [64, 128, 64, 10], input_shape=data.feature_shape, preprocessing=data.preprocessing(), seed=0
)
run = kerasmlp.train(model, data, epochs=20, batch_size=32, out=folder / "run")
print(f"Keras model: {run.metrics['test_accuracy']:.1%} of {len(data.test)} test examples are correct")

# Of 360 test examples, each is 0.3 percentage points. Allow the 8-bit file to lose a few.
reports = export_tflite(run, folder / "mobile", quantize=["float32", "int8"], data=data, max_drop=0.02)
for report in reports:
    evaluation = kerasmlp.evaluate(report.path, data)
    print(f"{report.path}: {report.size_bytes / 1000:.0f} kB, {evaluation.accuracy:.1%} are correct")

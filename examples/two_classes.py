"""Chooses the threshold between two classes, and answers with sets of classes where one class is not certain.

Run it with `python examples/two_classes.py [FOLDER]`.
"""

import sys
import tempfile
from pathlib import Path

import kerasmlp

folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())

data = kerasmlp.load_data("breast_cancer", validation_share=0.25)  # benign or malignant
model = kerasmlp.build_mlp(
    [data.num_features, 32, data.num_outputs],
    input_shape=data.feature_shape,
    preprocessing=data.preprocessing(),
    seed=0,
)
# To overlook a malignant tumour costs ten times as much as a false alarm.
run = kerasmlp.train(model, data, epochs=20, threshold="cost=1:10", objective="val_auc", out=folder / "run")
task = run.card.learnt
scores = kerasmlp.evaluate(run.path, data)
print(f"{task.names[1]} from a probability of {task.threshold:.3f}: F1 {scores.f1:.3f}, AUC {scores.auc:.3f}")

coverage = 0.95
reached = task.coverage_scores(scores.answers, scores.targets, coverage)
print(f"sets for {coverage:.0%} hold the truth of {reached['coverage']:.1%}; mean size {reached['mean_size']:.2f}")
sets = task.with_coverage(scores.answers[:3], coverage)["prediction_set"]
for chosen in sets:
    print([name for name, is_in_set in zip(task.names, chosen, strict=True) if is_in_set])

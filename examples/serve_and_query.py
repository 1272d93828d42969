"""Exports a SavedModel for TensorFlow Serving, and queries the server.

First, export a model and write the files that start a server:

    python examples/serve_and_query.py FOLDER

Then start the server with the command that this prints, and query it:

    python examples/serve_and_query.py FOLDER http://localhost:8501/v1/models/digits
"""

import sys
from pathlib import Path

import kerasmlp
from kerasmlp.client import connect
from kerasmlp.export import export_saved_model, write_serving_files

folder, *urls = sys.argv[1:]
models = Path(folder) / "models" / "digits"
data = kerasmlp.load_data("digits")

if not urls:
    model = kerasmlp.build_mlp([64, 32, 10], input_shape=data.feature_shape, preprocessing=data.preprocessing(), seed=0)
    run = kerasmlp.train(model, data, epochs=10, learning_rate=0.005, out=Path(folder) / "run")
    export_saved_model(run, models, data=data)
    compose, *_ = write_serving_files(models, Path(folder) / "serving")
    print(f"Start the server: docker compose -f {compose} up -d")

for url in urls:
    with connect(url) as client:
        outputs = client.predict(data.test.features[:5])
    for name, probabilities in zip(outputs["label"], outputs["probabilities"], strict=True):
        print(f"{name} with probability {max(probabilities):.1%}")

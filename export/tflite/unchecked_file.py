"""A program that writes a run as a float32 TFLite file, without its data and so without a comparison.

    python -m kerasmlp.export.tflite.unchecked_file RUN FILE

`kerasmlp serve` starts it to serve a run. `export_tflite` is what writes files to keep.
"""

from __future__ import annotations

import sys
from pathlib import Path

from kerasmlp.artefacts.tflite_contents import read_contents
from kerasmlp.contract import input_name
from kerasmlp.errors import KerasMLPError
from kerasmlp.export.tflite.converting import convert
from kerasmlp.export.tflite.folding import embedding, fold, front, units_are_precise
from kerasmlp.export.tflite.metadata import with_metadata
from kerasmlp.export.tflite.settings import TFLiteSettings
from kerasmlp.run import Run


def float_file(run: Run) -> bytes:
    """Returns the content of a float32 TFLite file that takes any number of examples.

    Without data, nothing tells whether measured features lose digits when their scaling is multiplied into the weights.
    So they are scaled by operations of their own.

    Args:
        run: A finished run.
    """
    model, card = run.load_model(), run.card
    table = embedding(model)
    keep_front = table is None and card.feature_range is None
    content = convert(
        fold(model, keep_front=keep_front, keep_back=card.learnt.has_units and not units_are_precise(model)),
        input_name(card.feature_shape),
        batch_size=None,
        task=card.learnt,
        front=front(model) if keep_front else None,
        table=table,
    )
    usual = TFLiteSettings()
    return with_metadata(content, read_contents(content), card, author=usual.author, version=usual.version)


def main() -> None:
    """Converts the run that the command line names."""
    run, file = sys.argv[1:]
    try:
        Path(file).write_bytes(float_file(Run.open(run)))
    except (KerasMLPError, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()

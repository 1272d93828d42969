"""Names that training, exported artefacts, servers and clients must agree on. Nothing here imports TensorFlow or NumPy.

Clients rely on the names of signatures, inputs and outputs: a new version may add names but must never change one.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Sequence

# Files of a run directory.
CONFIG_NAME, DATA_NAME, METRICS_NAME, HISTORY_NAME = "config.json", "data.json", "metrics.json", "history.csv"
MODEL_NAME, STATE_NAME = "model.keras", "state.npz"
TASK_NAME = "task.json"
CALIBRATION_NAME = "calibration.json"  # only until the run is finished
RUN_LOCK_NAME = ".lock"  # only while a process writes to the directory
# Files of a cross-validation, beside a folder for the run of each fold.
CROSS_VALIDATION_NAME, OUT_OF_FOLD_NAME = "cross_validation.json", "out_of_fold.csv"

# Files that travel with artefacts.
CARD_NAME, LABELS_NAME, COLUMNS_NAME = "card.json", "labels.txt", "columns.json"
SAVED_MODEL_NAME = "saved_model.pb"
EXTRA_FOLDER = "assets.extra"  # TF Serving's own name for the files beside a SavedModel
WARM_UP_NAME = "tf_serving_warmup_requests"  # TF Serving's own name for its warm-up requests

# Signatures of a SavedModel. The inputs of `image_bytes` and `rows` have the signature's name.
SERVING_DEFAULT, IMAGE_BYTES, COLUMNS, ROWS, CARD = "serving_default", "image_bytes", "columns", "rows", "card"
REQUEST = "request"  # the input of `card`, which may be any text, because TF Serving answers no request without inputs
IMAGE, FEATURES = "image", "features"  # the input of `serving_default`

# Outputs. A TFLite file returns one of `TFLITE_OUTPUTS` (`Task.tflite_outputs` has those of a task). A SavedModel
# returns one of `MAIN_OUTPUTS`, and what follows from it.
PROBABILITIES, LOGITS, CLASS_ID, LABEL = "probabilities", "logits", "class_id", "label"
LABELS = "labels"  # which of several labels an example has; their probabilities do not add up to 1
VALUES, QUANTILES = "values", "quantiles"  # numbers in the targets' own units
PREDICTION_SET, INTERVAL = "prediction_set", "interval"  # what holds the truth with a chosen probability
MAIN_OUTPUTS = (PROBABILITIES, VALUES, QUANTILES)
CLASS_NAMES = "class_names"  # of classes or targets in the signature `card`, besides the card, which is called `card`
TFLITE_OUTPUTS = (PROBABILITIES, LOGITS, CLASS_ID, VALUES, QUANTILES)

# Words for booleans, in small letters. The serving graph accepts exactly the words that training does.
TRUE_WORDS, FALSE_WORDS = ("true", "yes", "1", "1.0"), ("false", "no", "0", "0.0")
MISSING = ""  # a missing boolean, date or category in a request; a missing number is NaN

# Words for a missing value, in small letters; among them are all that pandas knows, MySQL's `\N` and the `1.#IND` of
# Windows. In columns of numbers, booleans and dates all of them count. In columns of words only the first two do,
# because `NA` may be a country and `None` an answer.
NO_CATEGORY = ("", "?")
MISSING_WORDS = (
    *(*NO_CATEGORY, "na", "n/a", "#n/a", "#na", "#n/a n/a", "<na>", "nan", "-nan", "nat", "null", "none", "nil"),
    *("-", "--", ".", "\\n", "1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan"),
)

# Examples per call wherever nothing is learnt: validation, evaluation and parity checks. All use the same number,
# because floating-point sums over batches of another size are rounded differently.
EVALUATION_BATCH_SIZE = 1024

# Share of each class's training examples that is set aside for validation, if the caller names no other.
VALIDATION_SHARE = 0.1

# Names of recipes.
PLAIN, TABLE = "plain", "table"
RECIPES = (PLAIN, TABLE)

# Share of the examples that becomes the test of data without a test of their own, if the caller names no other.
DEFAULT_TEST_SHARE = 0.2

# Pixels of the largest image that is decoded, if the caller names no other number. A file of some kilobytes can hold an
# image that fills the memory.
MAX_IMAGE_PIXELS = 4096 * 4096

# Limits of a request with image files, in the graph of a SavedModel and in a server that computes without one.
# At most as many images in a request as the check before publishing sends, or as many as have `MAX_IMAGE_PIXELS`
# together at the network's size, whichever is more. A file of 67 bytes becomes an input of the network's size.
MIN_IMAGES = 512
# All images in a request have at most as many pixels as this many images of the largest size, which are decoded in some
# seconds, or as `MIN_IMAGES` of the network's size, whichever is more.
LARGEST_IMAGES = 16
# Each scan of a JPEG file goes over the whole image, even if the scan has 30 bytes. Progressive files have about ten.
# Bytes that only look like the start of a scan are once in 64 KiB of other data, such as a video behind the image.
MAX_SCANS, BYTES_PER_FURTHER_SCAN = 64, 16384
MAX_CARDS = 256  # texts in a request for cards: the largest batch of the batching configuration

# Seconds to wait for each answer of a model server, if the caller names no other number.
TIMEOUT_S = 30.0

# Ends of the names of web pages, in lower case.
PAGE_SUFFIXES = (".html", ".htm")


def input_name(feature_shape: Sequence[int]) -> str:
    """Returns the name of the input for raw examples: `image` for two or three axes, otherwise `features`.

    Example:
        >>> input_name((28, 28)), input_name((64,))
        ('image', 'features')
    """
    return IMAGE if len(feature_shape) in (2, 3) else FEATURES


def column_input_names(columns: Iterable[str]) -> dict[str, str]:
    """Returns the input name of each table column in the signature `columns`.

    A column keeps its name if that is a valid input name. Otherwise:

    - letters become lower case, because TensorFlow does not distinguish case;
    - characters other than ASCII letters, digits and `_` become `_`;
    - a name that does not start with a letter gets the prefix `column_`;
    - a Python keyword gets the suffix `_`.

    If two columns would get the same name, the column that keeps its own name has priority. The others follow in table
    order and get the first free suffix `_2`, `_3`, ... The names therefore depend on nothing but the columns.

    Example:
        >>> column_input_names(["size", "has thorns", "2nd", "Größe", "class", "Size", "has_thorns"])
        {'size': 'size', 'has thorns': 'has_thorns_2', '2nd': 'column_2nd', 'Größe': 'gr__e', 'class': 'class_', \
'Size': 'size_2', 'has_thorns': 'has_thorns'}
    """
    columns = list(columns)
    stems = {column: column_input_stem(column) for column in columns}
    named: dict[str, str] = {}
    taken: set[str] = set()
    for column in sorted(columns, key=lambda column: stems[column] != column):  # a stable sort keeps the table's order
        name, number = stems[column], 1
        while name in taken:
            number += 1
            name = f"{stems[column]}_{number}"
        taken.add(name)
        named[column] = name
    return {column: named[column] for column in columns}


def column_input_stem(column: str) -> str:
    """Returns the input name of a column before clashes with other columns are resolved."""
    stem = re.sub(r"[^a-z0-9_]", "_", column.lower())
    if not re.match("[a-z]", stem):
        stem = f"column_{stem}"
    return f"{stem}_" if keyword.iskeyword(stem) else stem

"""The tables that come with scikit-learn, which need no file and no network."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kerasmlp.data.raw_rows import FrameRows
from kerasmlp.data.readers.table_in_pieces import table_use
from kerasmlp.data.table_parts import TableParts
from kerasmlp.data.table_source import TableSource

if TYPE_CHECKING:
    import pandas as pd

    from kerasmlp.data.source import SourceOptions

# The name of each table, and of the column that one usually predicts.
BUILT_IN_TABLES = {
    "iris": "species",
    "wine": "cultivar",
    "breast_cancer": "diagnosis",
    "diabetes": "progression",
}


def read_built_in_table(name: str, options: SourceOptions) -> TableSource:
    """Returns one of `BUILT_IN_TABLES`. It has no test rows of its own.

    Args:
        name: The table.
        options: What the user says about the columns. The target is the usual one if none is named.
    """
    target = BUILT_IN_TABLES[name] if options.target is None else options.target
    parts = TableParts(FrameRows(built_in_frame(name), options.drop))
    request = {"source": name, **options.request()}
    return TableSource(name, parts, table_use(replace(options, target=target)), request=request)


def built_in_frame(name: str) -> pd.DataFrame:
    """Returns the rows of one of `BUILT_IN_TABLES`, with scikit-learn's names of columns and classes.

    The columns of `diabetes` are in their own units, such as years and kg/m2. scikit-learn's loader scales them unless
    it is asked not to.

    Example:
        >>> built_in_frame("iris")["species"].unique().tolist()
        ['setosa', 'versicolor', 'virginica']
    """
    from sklearn import datasets

    options = {"scaled": False} if name == "diabetes" else {}
    table = getattr(datasets, f"load_{name}")(as_frame=True, **options)
    names = getattr(table, "target_names", None)
    frame: pd.DataFrame = table.data.assign(
        **{BUILT_IN_TABLES[name]: table.target if names is None else names[table.target]}
    )
    return frame

"""The augmentation layer under its earlier module name. Its code is in `kerasmlp.model.augmentation`.

Import this module before you load a `.keras` file with `keras.models.load_model`, because Keras only finds layers that
have been registered. `kerasmlp.open_artefact` and `Run.load_model` do so themselves. Files saved under the earlier name
contain `kerasmlp.augmentation` and the registered name `kerasmlp>Augmentation`; both stay valid.

Example:
    >>> from kerasmlp.augmentation import Augmentation
    >>> Augmentation(seed=0).strengths.rotation
    12.0
"""

from kerasmlp.model.augmentation import Augmentation, Strengths, parse_strengths

__all__ = ["Augmentation", "Strengths", "parse_strengths"]

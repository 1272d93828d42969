"""The augmentation layer under the module name that `.keras` files contain; its code is in `kerasmlp.model`.

Keras stores `kerasmlp.augmentation` as the layer's module in every file that has the layer. Keeping this name lets
`keras.models.load_model` find it in files that were saved when the code was here.

Example:
    >>> from kerasmlp.augmentation import Augmentation
    >>> Augmentation(seed=0).strengths.rotation
    12.0
"""

from kerasmlp.model.augmentation import Augmentation, Strengths, parse_strengths

__all__ = ["Augmentation", "Strengths", "parse_strengths"]

"""The network written out in NumPy, under the name that users know; the code is in `kerasmlp.lesson.network`.

`kerasmlp.lesson` also holds what goes with it: conversion to and from Keras and PyTorch, and the comparison of all
three. This module stays so that `from kerasmlp.numpy_mlp import NumpyMLP` keeps working.

Example:
    >>> from kerasmlp.numpy_mlp import NumpyMLP
    >>> NumpyMLP([4, 8, 3], seed=0).logits([[1.0, 2.0, 3.0, 4.0]]).shape
    (1, 3)
"""

import kerasmlp.lesson.network
from kerasmlp.lesson.network import *  # noqa: F403 (an alias has every public name of its module)

__all__ = [name for name in vars(kerasmlp.lesson.network) if not name.startswith("_")]

"""Alias of `kerasmlp.lesson.numpy_network`, the network written in NumPy.

The package `kerasmlp.lesson` also converts it to and from Keras and PyTorch, and compares all three. This alias keeps
`from kerasmlp.numpy_mlp import NumpyMLP` working.

Example:
    >>> from kerasmlp.numpy_mlp import NumpyMLP
    >>> NumpyMLP([4, 8, 3], seed=0).logits([[1.0, 2.0, 3.0, 4.0]]).shape
    (1, 3)
"""

import kerasmlp.lesson.numpy_network
from kerasmlp.lesson.numpy_network import *  # noqa: F403 (an alias has all public names of its module)

__all__ = [name for name in vars(kerasmlp.lesson.numpy_network) if not name.startswith("_")]

if __name__ == "__main__":
    import sys

    from kerasmlp.cli.entry_point import main

    raise SystemExit(main(["lesson", *sys.argv[1:]]))

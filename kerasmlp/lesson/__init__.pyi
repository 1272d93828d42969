from .comparison import compare as compare
from .conversion import from_keras as from_keras
from .conversion import from_torch as from_torch
from .conversion import to_keras as to_keras
from .conversion import to_torch as to_torch
from .network import NumpyMLP as NumpyMLP

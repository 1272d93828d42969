from .augmentation import Augmentation as Augmentation
from .building import build_mlp as build_mlp
from .optimizers import make_optimizer as make_optimizer
from .recipes import mlp_for as mlp_for
from .recipes import recipe_for as recipe_for

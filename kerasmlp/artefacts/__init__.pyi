from .keras_file import wrap_model as wrap_model
from .opening import is_artefact as is_artefact
from .opening import open_artefact as open_artefact
from .protocol import Artefact as Artefact

from .opening import Artefact as Artefact
from .opening import is_artefact as is_artefact
from .opening import open_artefact as open_artefact

from .hyper_model import MLPHyperModel as MLPHyperModel
from .records import TrialRecord as TrialRecord
from .search_listener import Listener as Listener
from .searching import join_search as join_search
from .searching import search as search
from .settings import SearchSettings as SearchSettings
from .space import Range as Range
from .space import Space as Space

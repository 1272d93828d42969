from .loading import load_data as load_data
from .loading_from_memory import data_from_arrays as data_from_arrays
from .loading_from_memory import data_from_dataset as data_from_dataset
from .loading_from_memory import data_from_frame as data_from_frame
from .pipelines import make_pipeline as make_pipeline
from .types import Data as Data
from .types import Split as Split

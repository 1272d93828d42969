from .loading import data_from_arrays as data_from_arrays
from .loading import data_from_dataset as data_from_dataset
from .loading import data_from_frame as data_from_frame
from .loading import load_data as load_data
from .pipelines import make_pipeline as make_pipeline
from .types import Data as Data
from .types import Split as Split

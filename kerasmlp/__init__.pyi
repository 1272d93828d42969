__version__: str

from .artefacts.opening import open_artefact as open_artefact
from .artefacts.protocol import Artefact as Artefact
from .data.loading import load_data as load_data
from .data.loading_from_memory import data_from_arrays as data_from_arrays
from .data.loading_from_memory import data_from_dataset as data_from_dataset
from .data.loading_from_memory import data_from_frame as data_from_frame
from .data.pipelines import make_pipeline as make_pipeline
from .data.types import Data as Data
from .data.types import Split as Split
from .evaluation import evaluate as evaluate
from .explaining import explain as explain
from .model.building import build_mlp as build_mlp
from .model.recipes import mlp_for as mlp_for
from .run import Run as Run
from .tasks.class_evaluation import Evaluation as Evaluation
from .tasks.regression import RegressionScores as RegressionScores
from .training.committee_runs import committee as committee
from .training.cross_validation import cross_validate as cross_validate
from .training.distilling import distill as distill
from .training.fine_tuning import fine_tune as fine_tune
from .training.fitting import train as train

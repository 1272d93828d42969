from .committee_runs import committee as committee
from .cross_validation import cross_validate as cross_validate
from .distilling import distill as distill
from .fine_tuning import fine_tune as fine_tune
from .fitting import train as train
from .fold_report import CrossValidation as CrossValidation
from .settings import TrainingSettings as TrainingSettings

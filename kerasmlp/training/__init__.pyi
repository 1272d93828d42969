from .fitting import train as train
from .settings import TrainingSettings as TrainingSettings

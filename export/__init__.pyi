from .parity import ArtefactReport as ArtefactReport
from .parity import ParityError as ParityError
from .parity import verify as verify
from .saved_model.exporting import export_saved_model as export_saved_model
from .saved_model.serving_files import write_serving_files as write_serving_files
from .tflite.exporting import export_tflite as export_tflite
from .versions import Rollback as Rollback
from .versions import rollback as rollback

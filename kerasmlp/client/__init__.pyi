from .failures import ServerError as ServerError
from .model_signature import Signature as Signature
from .model_signature import TensorSpec as TensorSpec
from .model_signature import VersionStatus as VersionStatus
from .serving_client import ServingClient as ServingClient
from .serving_client import connect as connect

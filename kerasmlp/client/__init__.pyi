from .connection import ServingClient as ServingClient
from .connection import connect as connect
from .failures import ServerError as ServerError
from .model_signature import Signature as Signature
from .model_signature import TensorSpec as TensorSpec
from .model_signature import VersionStatus as VersionStatus

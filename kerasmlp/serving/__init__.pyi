from .local_server import LocalServer as LocalServer
from .settings import ServerSettings as ServerSettings

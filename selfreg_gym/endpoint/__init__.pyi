from .connection import Connection as Connection
from .prm import EndpointPRM as EndpointPRM
from .server import Server as Server

from .parser import build_parser as build_parser
from .parser import main as main

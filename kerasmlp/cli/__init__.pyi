from .entry_point import main as main
from .parser import build_parser as build_parser

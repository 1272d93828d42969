"""The command line: `kerasmlp COMMAND ...`.

`entry_point` runs a command, `parser` lists the commands, and `commands` has a module for each.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""One module per command, `NAME_command.py`: its arguments, its examples and what it does.

`add_arguments(parser)` adds the arguments. `run(args)` calls the Python API with them and returns an `Outcome`: the
result that `--json` prints, and a function that shows the same result to a person.
"""

"""The subcommands of `hf-audio`: each module in this folder is one, found by its name without a registry.

A module has `main(argv) -> int | None`, which parses its own flags and returns the exit code. The first line of its
docstring is its description in `hf-audio --help`; the whole docstring starts its own --help. Modules import nothing
slow at the top. Underscores in module names become hyphens. Modules whose names start with an underscore are
helpers.
"""

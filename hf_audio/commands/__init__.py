"""The subcommands of `hf-audio`: each module in this folder is one, and is found by its name without a registry.

A module has `main(argv) -> int | None`, which parses its own flags and returns the exit code, and a docstring: its
first line is what `hf-audio --help` says of it, the whole is what its own --help begins with. Nothing heavy is imported
at the top of one. Underscores in its name become hyphens; modules that begin with one serve the others.
"""

"""How a subcommand is asked: its --help begins with its docstring, and flags are given in full."""

from __future__ import annotations

import argparse


def parser_of(name: str, description: str | None) -> argparse.ArgumentParser:
    """A parser whose --help begins with a module's docstring."""
    return argparse.ArgumentParser(
        prog=f"hf-audio {name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )

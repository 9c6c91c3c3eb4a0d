"""The command `hf-audio`: finds a subcommand, and ends the program as its users expect."""

from __future__ import annotations

import ast
import errno
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from hf_audio.errors import InputError, clear_errors, unknown_name

USAGE = "usage: hf-audio COMMAND ...        hf-audio COMMAND --help says what each takes"
# What a system answers where nothing can be written, which is no mistake of ours.
NOT_WRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}
INTERRUPTED, BROKEN_PIPE = 130, 141  # what shells call the end by a signal: 128 and its number


def main(argv: Sequence[str] | None = None) -> None:
    """Runs one subcommand; exits where not all is done: 1 a part of it, 2 an InputError, or as the subcommand says."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # torch's threads that wait leave the core to those that read
    with clear_errors():
        code = _ran(list(sys.argv[1:] if argv is None else argv))
        if code:
            sys.exit(code)


def commands() -> dict[str, str]:
    """The subcommands, each with the first line of its docstring."""
    folder = Path(__file__).parent
    modules = [path for path in sorted(folder.glob("*.py")) if path.stem != "main" and not path.stem.startswith("_")]
    return {path.stem.replace("_", "-"): _first_line(path) for path in modules}


def _ran(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        _say_commands()
        return 0 if argv else 2
    if argv[0] == "--version":
        from hf_audio import __version__

        sys.stdout.write(f"hf_audio {__version__}\n")
        return 0
    name, *rest = argv
    if name.startswith("-"):
        raise InputError(f"Unknown flag {name!r}: expected a command first, such as tag; hf-audio --help lists all")
    if name not in commands():
        raise unknown_name("command", name, commands())
    try:
        return import_module(f"hf_audio.commands.{name.replace('-', '_')}").main(rest) or 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # what reads the output, such as head, has enough; Python would complain at exit
        _leave_output()
        return BROKEN_PIPE
    except OSError as error:
        if error.errno not in NOT_WRITABLE:
            raise
        where = f"{error.filename} cannot be used" if error.filename else "The output cannot be written"
        _leave_output()
        raise InputError(
            f"{where} ({error.strerror}): free some space, fix the permissions, or choose another folder"
        ) from error


def _leave_output() -> None:
    """Gives up standard output: what still waits to be written to it would fail once more when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say_commands() -> None:
    found = commands()
    width = max(map(len, found))
    lines = [f"  {name:<{width}}  {described}" for name, described in found.items()]
    sys.stdout.write("\n".join([USAGE, "", *lines, ""]))


def _first_line(module: Path) -> str:
    """Of its docstring, without importing it."""
    return (ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or "").partition("\n")[0]

"""The command `hf-audio`: runs a subcommand, and turns errors and signals into messages and exit codes."""

from __future__ import annotations

import ast
import errno
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from hf_audio.errors import InputError, clear_errors, unknown_name

USAGE = "usage: hf-audio COMMAND ...        see hf-audio COMMAND --help for the flags of a command"
# Errors of writing that the user can fix
NOT_WRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}
INTERRUPTED, BROKEN_PIPE = 130, 141  # exit codes of shells after a signal: 128 plus its number


def main(argv: Sequence[str] | None = None) -> None:
    """Runs one subcommand. Exit codes: 1 if a part failed, 2 for an InputError, or those of the subcommand."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # torch's idle threads leave the cores to threads that read
    with clear_errors():
        code = _run(list(sys.argv[1:] if argv is None else argv))
        if code:
            sys.exit(code)


def commands() -> dict[str, str]:
    """The subcommands, each with the first line of its docstring."""
    folder = Path(__file__).parent
    modules = [path for path in sorted(folder.glob("*.py")) if path.stem != "main" and not path.stem.startswith("_")]
    return {path.stem.replace("_", "-"): _first_line(path) for path in modules}


def _run(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        _list_commands()
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
    except BrokenPipeError:  # the reader of the output, such as head, has closed it; Python would complain at exit
        _discard_output()
        return BROKEN_PIPE
    except OSError as error:
        if error.errno not in NOT_WRITABLE:
            raise
        where = f"{error.filename} cannot be used" if error.filename else "The output cannot be written"
        _discard_output()
        raise InputError(
            f"{where} ({error.strerror}): free some space, fix the permissions, or choose another folder"
        ) from error


def _discard_output() -> None:
    """Discards standard output: buffered text would raise the error again when Python exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _list_commands() -> None:
    found = commands()
    width = max(map(len, found))
    lines = [f"  {name:<{width}}  {described}" for name, described in found.items()]
    sys.stdout.write("\n".join([USAGE, "", *lines, ""]))


def _first_line(module: Path) -> str:
    """First line of a module's docstring, without importing the module."""
    return (ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or "").partition("\n")[0]

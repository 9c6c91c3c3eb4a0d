"""Command-line parsing: no abbreviated flags, errors in one sentence, and a --help in two tiers.

--help shows the most important flags, --help_all shows all.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NoReturn

from hf_audio.config.other_names import SAID_ELSEWHERE, other_name
from hf_audio.errors import InputError, nearest_name, unknown_name

MAX_CHOICES_SHOWN = 8  # in braces; if there are more, --help shows VALUE
NUMBERS = {"float": "a number", "int": "a whole number"}


class Help(argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of the description and shows each flag's default in brackets, in one spelling."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32, width=110)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if not action.help or "%(default)" in action.help:
            return action.help
        default = action.default
        if default in (None, argparse.SUPPRESS, "") or isinstance(default, bool) or default == []:
            return action.help
        if isinstance(default, list):
            return f"{action.help} [{' '.join(map(str, default))}]"
        return f"{action.help} [%(default)s]"

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings:
            return super()._format_action_invocation(action)
        flag = action.option_strings[-1] if action.dest == "help" else action.option_strings[0]
        return flag if action.nargs in (0, "?") else f"{flag} {self._format_args(action, 'VALUE')}"

    def _metavar_formatter(self, action: argparse.Action, default_metavar: str) -> Any:
        if action.metavar is None and action.choices and len(list(action.choices)) > MAX_CHOICES_SHOWN:
            return lambda size: ("VALUE",) * size
        return super()._metavar_formatter(action, default_metavar)


class FlagParser(argparse.ArgumentParser):
    """A parser whose errors are InputErrors, and whose --help can be short.

    Attributes:
        shown: names of the flags that --help shows; None for all.
        elsewhere: names of flags that other parsers have, each with why this one does not.
    """

    shown: Collection[str] | None = None
    elsewhere: Mapping[str, str] = {}

    def show_first(self, names: Iterable[str]) -> None:
        """Makes --help show only these flags, and adds --help_all, which shows all."""
        never = argparse.SUPPRESS  # it is not a setting
        self.add_argument("--help_all", action=_HelpAll, nargs=0, default=never, help="show all flags and exit")
        self.shown = {*names, "help", "help_all"}

    def error(self, message: str) -> NoReturn:
        raise InputError(_in_words(message))

    def parse_args(self, args=None, namespace=None):
        args = sys.argv[1:] if args is None else list(args)
        for one in (
            args[: args.index("--")] if "--" in args else args
        ):  # before argparse reports a consequence of the misspelling
            if one.startswith("--") and one.split("=")[0] not in self._option_string_actions:
                raise self.unknown_argument(one)
        namespace, unknown = self.parse_known_args(args, namespace)
        if unknown:
            raise self.unknown_argument(unknown[0])
        return namespace

    def unknown_argument(self, argument: str) -> InputError:
        """The error for an argument that is neither a flag nor the value of one."""
        typed = argument.split("=")[0]
        if not typed.startswith("-"):
            return InputError(f"Unexpected argument {typed!r}: {self._expected()}, see --help")
        flags = [option for action in self._actions for option in action.option_strings if option.startswith("--")]
        return unknown_setting("flag", typed, [flag for flag in flags if "-" not in flag[2:]], self.elsewhere)

    def _expected(self) -> str:
        positional = [str(one.metavar or one.dest) for one in self._actions if not one.option_strings]
        return f"expected {' '.join(positional)}" if positional else "every value needs a flag in front of it"

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            raise unknown_name(
                action.option_strings[0] if action.option_strings else action.dest, value, action.choices
            )

    def print_help(self, file=None) -> None:
        left_out = self._leave_out_rare()
        self.epilog = " ".join(filter(None, (self.epilog, left_out)))
        self.usage = self.usage or self._short_usage()
        super().print_help(file)

    def _short_usage(self) -> str:
        """The command line with its required arguments only; the other flags follow, one per line."""
        words = [self.prog.replace("%", "%%")]
        for action in self._actions:
            if not action.option_strings:
                name = str(action.metavar or action.dest)
                words.append(f"[{name} ...]" if action.nargs == "*" else f"[{name}]" if action.nargs == "?" else name)
            elif action.required:
                words.append(f"{action.option_strings[0]} {action.metavar or 'VALUE'}")
        return " ".join([*words, "[--flag value ...]"])

    def _leave_out_rare(self) -> str:
        """Hides the flags that --help does not show, and returns a sentence about the hidden groups."""
        hidden = []
        for group in self._action_groups:
            flags = [one for one in group._group_actions if not self._is_opposite(one)]
            rare = [
                one for one in flags if self.shown is not None and one.option_strings and one.dest not in self.shown
            ]
            for action in group._group_actions:
                if action in rare or action not in flags:
                    action.help = argparse.SUPPRESS
            if 0 < len(rare) < len(flags):
                group.title = f"{group.title} ({len(rare)} more with --help_all)"
            elif rare:
                hidden.append(f"{group.title} ({len(rare)})")
        return f"--help_all also shows these groups: {', '.join(hidden)}." if hidden else ""

    def _is_opposite(self, action: argparse.Action) -> bool:
        """Whether a flag is the --no_NAME that HfArgumentParser adds for a dataclass's NAME."""
        name = (action.option_strings or [""])[0]
        return name.startswith("--no_") and f"--{name[5:]}" in self._option_string_actions


class _HelpAll(argparse.Action):
    def __call__(self, parser, namespace, values, option_string=None) -> None:
        parser.shown = None
        parser.print_help()
        parser.exit()


def unknown_setting(kind: str, name: str, names: Iterable[str], elsewhere: Mapping[str, str]) -> InputError:
    """The error for an unknown setting. It suggests our name for another program's setting, or else the nearest name.

    Args:
        kind: kind of the name, for the message.
        name: the name as written, with or without the dashes of a flag.
        names: the known names, written the same way.
        elsewhere: see `FlagParser`.
    """
    dashes = "--" if name.startswith("-") else ""
    bare = name.lstrip("-").replace("-", "_")
    if bare in elsewhere:
        return InputError(f"Unknown {kind} {name!r}: {elsewhere[bare]}")
    known = sorted({one.removeprefix("--") for one in names})
    guess = other_name(bare, known)
    if guess is None and bare in SAID_ELSEWHERE and "use_cpu" in known:
        return InputError(f"Unknown {kind} {name!r}: {SAID_ELSEWHERE[bare]}")
    guess = guess or nearest_name(bare, known)
    if guess:
        return InputError(f"Unknown {kind} {name!r}: did you mean {dashes + guess!r}?")
    lists_all = "--help_all" if "help_all" in known else "--help"
    return InputError(f"Unknown {kind} {name!r}: {lists_all} lists all")


def _in_words(message: str) -> str:
    """An error message of argparse as a sentence that says what was found and what was expected."""
    flag, _, rest = message.removeprefix("argument ").partition(": ")
    flag = flag.split("/")[0]
    if found := re.fullmatch(r"invalid (\w+) value: (.*)", rest):
        return f"{flag} must be {NUMBERS.get(found[1], 'a ' + found[1])}, found {found[2]}"
    if re.fullmatch(r"expected (one|at least one) arguments?", rest):
        return f"{flag} needs a value, see --help"
    if message.startswith("argument "):
        return f"{flag}: {rest}"
    if found := re.fullmatch(r"the following arguments are required: (.*)", message):
        return f"Missing: {found[1]}; see --help"
    return message

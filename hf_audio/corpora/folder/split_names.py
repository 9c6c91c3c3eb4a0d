"""Common names of splits and folds, in folder names, file names and columns."""

from __future__ import annotations

import re

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "validate"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
_DECORATION = re.compile(r"[\s_-]*(set|data|split|subset|audio|wavs?|files|samples)$")
_FOLD = re.compile(r"(cv[\s_-]*)?(fold|split|subset|partition)[\s_-]*\d{1,3}|fold[\s_-]+[a-z]")


def split_called(name: str) -> str | None:
    """The split with this name, in upper or lower case: "Training_set" is "train"; None if it names no split."""
    plain = name.strip().casefold()
    return SPLIT_NAMES.get(plain) or SPLIT_NAMES.get(_DECORATION.sub("", plain))


def split_within(name: str) -> str | None:
    """The only split among a name's words: "my-train" and "train-clean-100" are "train"; else None.

    A class may be called "train horn", so use this only if other names contain other splits.
    """
    found = {SPLIT_NAMES[word] for word in re.split(r"[\W_\d]+", name.casefold()) if word in SPLIT_NAMES}
    return split_called(name) or (found.pop() if len(found) == 1 else None)


def is_fold(name: str) -> bool:
    """Whether a name is that of a fold, such as "fold3", "Fold_03" or "split_1"."""
    return bool(_FOLD.fullmatch(name.strip().casefold()))

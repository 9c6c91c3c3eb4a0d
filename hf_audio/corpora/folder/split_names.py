"""What people call splits and folds, as folders, files and values of a column."""

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
    """The split that a name stands for, in any case: "Training_set" is "train"; None if it names no split."""
    plain = name.strip().casefold()
    return SPLIT_NAMES.get(plain) or SPLIT_NAMES.get(_DECORATION.sub("", plain))


def split_within(name: str) -> str | None:
    """The one split that a name's words speak of: "my-train" and "train-clean-100" are "train"; else None.

    A train's horn is a "train horn" too: ask this of names that stand beside others of other splits only.
    """
    found = {SPLIT_NAMES[word] for word in re.split(r"[\W_\d]+", name.casefold()) if word in SPLIT_NAMES}
    return split_called(name) or (found.pop() if len(found) == 1 else None)


def is_fold(name: str) -> bool:
    """Whether a name is a fold's, such as "fold3", "Fold_03" or "split_1"."""
    return bool(_FOLD.fullmatch(name.strip().casefold()))

"""The folds that a recipe is run on: those of the corpus, or drawn ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyarrow as pa

from hf_audio.config import Recipe
from hf_audio.data.splits.assigning import fold_names
from hf_audio.errors import InputError, unknown_name


def folds_in_turn(
    settings: Recipe, clips: Callable[[], pa.Table], num_folds: int | None, folds: Sequence[str] | None
) -> dict[str, list[str]]:
    """The flags of a run on each fold, by its name; of one run on what the recipe tests on, where no folds are asked.

    Args:
        clips: gives the corpus as its index has it, asked only for its own folds.
        num_folds: draw so many by groups.
        folds: names of the corpus's own; an empty list takes all.

    Raises:
        InputError: folds where there are none, or that are no folds.
    """
    if num_folds is None and folds is None:
        return {"": []}
    if settings.stored_features:
        raise InputError("--dataset holds features, whose split is made already: leave out --folds and --num_folds")
    if num_folds is not None:
        if folds is not None or num_folds < 2:
            raise InputError("--num_folds draws folds, 2 or more, and --folds takes those of the corpus: give one")
        return {str(fold): [f"--num_folds={num_folds}", f"--fold={fold}"] for fold in range(1, num_folds + 1)}
    known = fold_names(clips())
    for name in folds:
        if name not in known:
            raise unknown_name("fold", name, known)
    if not known:
        raise InputError("The corpus has no folds: draw some with --num_folds 3, or leave out --folds")
    return {name: [f"--fold={name}"] for name in folds or known}

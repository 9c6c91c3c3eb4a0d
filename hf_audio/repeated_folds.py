"""The folds that a recipe is run on: those of the corpus, or random ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyarrow as pa

from hf_audio.config import Recipe
from hf_audio.data.splits.assigning import fold_names
from hf_audio.errors import InputError, unknown_name


def folds_in_turn(
    settings: Recipe, clips: Callable[[], pa.Table], num_folds: int | None, folds: Sequence[str] | None
) -> dict[str, list[str]]:
    """The flags of the run for each fold, by fold name. Without folds, one run on the recipe's own split.

    Args:
        settings: of the recipe.
        clips: returns the index of the corpus; called only for the corpus's own folds.
        num_folds: number of random folds, drawn by groups.
        folds: names of the corpus's folds; an empty list uses all.

    Raises:
        InputError: the corpus has no folds, or not the requested ones.
    """
    if num_folds is None and folds is None:
        return {"": []}
    if settings.stored_features:
        raise InputError("--dataset contains features, which are already split: remove --folds and --num_folds")
    if num_folds is not None:
        if folds is not None or num_folds < 2:
            raise InputError("--num_folds draws 2 or more folds, and --folds uses those of the corpus: give only one")
        return {str(fold): [f"--num_folds={num_folds}", f"--fold={fold}"] for fold in range(1, num_folds + 1)}
    known = fold_names(clips())
    for name in folds:
        if name not in known:
            raise unknown_name("fold", name, known)
    if not known:
        raise InputError("The corpus has no folds: draw some with --num_folds 3, or remove --folds")
    return {name: [f"--fold={name}"] for name in folds or known}

"""Families of classes: confusing two classes of the same family costs less than confusing two families."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hf_audio.config.loss import OF_THE_CORPUS
from hf_audio.corpora import families_of_corpus
from hf_audio.data.index.labels import LabelSpace
from hf_audio.errors import InputError, nearest_name
from hf_audio.files import read_yaml
from hf_audio.models.window_losses import cross_entropy

MAX_YAML_BYTES = 1 << 18

Families = dict[str, tuple[str, ...]]


def family_cross_entropy(
    logits: Tensor, targets: Tensor, class_weights: Tensor | None = None, *, families: Tensor, within_family: float
) -> Tensor:
    """Hierarchical cross-entropy of two levels (Bertinetto et al. 2020, arXiv 1912.09393, equation 4), `[batch]`.

    A class's probability is that of its family times its probability within the family. The logarithm of the latter is
    scaled, so a confusion within a family costs `within_family` times its cross-entropy, and a confusion between
    families costs the full cross-entropy:

        - log p(family) - within_family * log p(class | family)

    This is the paper's loss with exp(-alpha) = within_family, times a constant. 1 is cross-entropy; 0 only separates
    families. Targets may be mixed or smoothed; `class_weights` multiply the terms of their classes.

    Args:
        families: float `[classes, families]`, 1 if a class is in a family; see `membership`.
        within_family: between 0 and 1.
    """
    log_probabilities = logits.log_softmax(dim=1)
    of_families = (log_probabilities[:, :, None] + families.to(logits.dtype).log()).logsumexp(dim=1)
    weighted = targets if class_weights is None else targets * class_weights
    costs = -((weighted @ families.to(logits.dtype)) * of_families).sum(dim=1)
    within = cross_entropy(logits, targets, class_weights)
    return within_family * within + (1 - within_family) * costs


def membership(families: Families, labels: LabelSpace) -> Tensor:
    """float32 `[classes, families]`: 1 if a class is in a family."""
    family_of = {name: place for place, names in enumerate(families.values()) for name in names}
    return torch.eye(len(families))[[family_of[name] for name in labels.names]]


def named_families(wanted: str, labels: LabelSpace, corpus: str) -> Families:
    """The class families of a run, limited to its classes.

    Args:
        wanted: "corpus", or a YAML file {family: [classes]}.
        corpus: the title of the corpus in its card.

    Raises:
        InputError: the corpus has no families, the file does not exist, a class is unknown or is in no family or in
            two, or there is only one family.
    """
    if wanted == OF_THE_CORPUS:
        known = families_of_corpus(corpus)
        if known is None:
            raise InputError(
                f"{corpus} has no class families: use --families FILE.yaml with {{family: [classes]}}, or leave out "
                "--loss family"
            )
        found = {family: tuple(name for name in names if name in labels.names) for family, names in known.items()}
        found, source = {family: names for family, names in found.items() if names}, corpus
    else:
        source = Path(wanted).name
        found = _read(Path(wanted).expanduser(), source)
    _check(found, labels, source)
    return found


def _read(path: Path, name: str) -> Families:
    read: Mapping[Any, Any] = read_yaml(path, MAX_YAML_BYTES)
    for family, classes in read.items():
        if not isinstance(classes, list) or not classes:
            raise InputError(
                f"{name} has no list of classes for family {family!r}: expected {{family: [classes]}}, with each class "
                "in one family"
            )
    return {str(family): tuple(map(str, classes)) for family, classes in read.items()}


def _check(families: Families, labels: LabelSpace, source: str) -> None:
    """Raises InputError unless each class is in exactly one family."""
    names = [name for classes in families.values() for name in classes]
    for name in names:
        if name not in labels.names:
            guess = nearest_name(name, labels.names)
            hint = f"did you mean {guess!r}?" if guess else f"expected one of: {_listed(labels.names)}"
            raise InputError(f"{source} lists {name!r} in a family, but this run has no such class: {hint}")
    for name in labels.names:
        if names.count(name) != 1:
            found = "no family" if name not in names else f"{names.count(name)} families"
            raise InputError(f"{source} lists the class {name!r} in {found}: put each class in exactly one")
    if not 1 < len(families) < len(labels):
        raise InputError(
            f"{source} has {len(families)} families for {len(labels)} classes, which has no effect: use two or more "
            "families, at least one of them with several classes"
        )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))

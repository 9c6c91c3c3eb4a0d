"""Running trained networks on stored windows: what a network makes of each, in front of its classifier."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hf_audio.data.loading.features_dataset import FeatureCollator, FeatureDataset, check_same_extractor
from hf_audio.errors import InputError
from hf_audio.models.foreign_checkpoint import Checkpoint
from hf_audio.models.inputs import model_inputs
from hf_audio.terminal import progress

if TYPE_CHECKING:
    from transformers import FeatureExtractionMixin, PreTrainedModel


@dataclass(frozen=True)
class WindowEmbeddings:
    """One vector a window, in the order of the dataset.

    Attributes:
        values: float32 `[windows, size]`.
        clip_ids: of each window.
        starts_s: float64 `[windows]`, where each window starts in its clip.
    """

    values: np.ndarray
    clip_ids: list[str]
    starts_s: np.ndarray


def load_network(
    name: str, features: FeatureDataset, *, token: str | None = None, seed: int = 0
) -> tuple[PreTrainedModel, FeatureExtractionMixin]:
    """A published or local audio classifier and its extractor, checked against the features it is to read.

    Any class of AutoModelForAudioClassification will do, ours and stock ones.

    Args:
        seed: of weights that the checkpoint does not have, where it was trained for something else.

    Raises:
        InputError: no such model, or one that reads other features.
    """
    checkpoint = Checkpoint(name, token)
    extractor = checkpoint.extractor
    check_same_extractor(features.extractor, extractor)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, _ = checkpoint.load(checkpoint.config)
    if not isinstance(getattr(model, "classifier", None), torch.nn.Module):
        raise InputError(
            f"{name} is a {type(model).__name__}, which has no `classifier` to take embeddings in front of"
        )
    return model.eval(), extractor


def embed(model: PreTrainedModel, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """What the model's classifier is given: one vector a window, `[batch, size]`.

    That is the pooled hidden state of AST, Wav2Vec2 and their like, and of our own models the embedding with the
    metadata behind it, all unknown.

    Args:
        inputs: of the extractor: `input_values` or `input_features`, and what else it gives.
    """
    given = []
    hook = model.classifier.register_forward_pre_hook(lambda layer, arguments: given.append(arguments[0]))
    try:
        with torch.no_grad():
            model(**inputs)
    finally:
        hook.remove()
    return given[-1]


def embeddings(
    model: PreTrainedModel,
    features: FeatureDataset,
    split: str,
    *,
    extractor: FeatureExtractionMixin | None = None,
    batch_size: int = 32,
) -> WindowEmbeddings:
    """`embed` of every window of a split, on the accelerator where there is one.

    Args:
        features: local or streamed.
        extractor: the model's own; by default the one of the features.
    """
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
    model = model.eval().to(device)
    collate = FeatureCollator(extractor or features.extractor, features.labels)
    values, clip_ids, starts_s = [], [], []
    with progress(desc=f"embeddings, {split}", unit=" windows", total=features.num_windows(split)) as bar:
        for rows in _batches(features.splits[split], batch_size):
            inputs = {name: value.to(device) for name, value in model_inputs(model, collate(rows)).items()}
            values.append(embed(model, inputs).float().cpu().numpy())
            clip_ids.extend(row["clip_id"] for row in rows)
            starts_s.extend(row["start_s"] for row in rows)
            bar.update(len(rows))
    return WindowEmbeddings(np.concatenate(values), clip_ids, np.array(starts_s, dtype=np.float64))


def _batches(rows: Iterable[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    iterator = iter(rows)
    return iter(lambda: list(islice(iterator, size)), [])

"""Turns rows of a feature dataset into batches for training, scoring and figures."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import get_worker_info
from transformers import FeatureExtractionMixin

from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.index.pseudo_labels import target_of
from hf_audio.data.index.table import RENAMED
from hf_audio.kinds import OfSound, kind_of_extractor

STORED = "stored"  # key of a batch: names of the stored values from which the inputs will be computed


def clip_key(clip_id: str) -> int:
    """A 63-bit number for a clip's name, the same on every machine, because tensors cannot hold strings."""
    return int.from_bytes(hashlib.blake2b(clip_id.encode(), digest_size=8).digest(), "big") >> 1


class FeatureCollator:
    """Turns rows of a feature dataset into a batch, equal to what the extractor returns for the windows' audio.

    Args:
        extractor: the extractor of the dataset; for waveforms, that of the model.
        labels: the classes.
        metadata_fields: metadata to include in batches: the known values of each field, as strings.
        stored: leave windows in their stored form if their kind supports it, so that `on_device` computes the inputs.
            Without an accelerator, workers compute them, because they have time to spare and training does not.
        of_sound: for features computed from stored sound; None for stored features.
    """

    def __init__(
        self,
        extractor: FeatureExtractionMixin,
        labels: LabelSpace,
        metadata_fields: Mapping[str, Sequence[str]] | None = None,
        stored: bool = False,
        of_sound: OfSound | None = None,
    ) -> None:
        self.stored = stored
        self.extractor = extractor
        self.kind: Any = of_sound or kind_of_extractor(extractor)  # OfSound has the interface of Kind
        self.labels = labels
        self.metadata_ids = {
            field: {value: number for number, value in enumerate(values, start=1)}
            for field, values in (metadata_fields or {}).items()
        }

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """The model's inputs, and the other values that training needs.

        Returns:
            `input_values` float32: `[batch, frames, bins]` (fbank; spectrogram, with several channels
            `[batch, channels, frames, bins]`), `[batch, samples]` of the batch's longest window (waveform) or
            `[batch, steps, features]` (classical); for waveforms also other outputs of the extractor, such as
            `attention_mask`, or `input_features` instead. `num_frames` int64 `[batch]`: frames (samples, steps) of each
            window without padding. `labels` float32 `[batch, classes]`: 1 present, 0 absent, NaN unknown; probabilities
            for pseudo-labeled clips. `clip_keys` int64 `[batch]`. If requested, `metadata` int64 `[batch, fields]`: the
            number of the clip's value in the field's list, from 1, or 0 if it is unknown.
        """
        batch = {
            "num_frames": torch.tensor([row["num_frames"] for row in rows], dtype=torch.int64),
            "labels": torch.from_numpy(np.stack([target_of(row, self.labels) for row in rows])),
            "clip_keys": torch.tensor([clip_key(row["clip_id"]) for row in rows], dtype=torch.int64),
            **self._windows(rows),
        }
        if self.metadata_ids:
            batch["metadata"] = torch.tensor([self._metadata_of(row) for row in rows], dtype=torch.int64)
        return batch

    def on_device(self, batch: Mapping[str, Any], *, as_sound: bool = False) -> dict[str, Any]:
        """A batch with the model's inputs, computed on the batch's device from stored values.

        Args:
            batch: from `__call__`, moved to a device.
            as_sound: do not compute features from sound yet, because waveforms are augmented first: `input_values` are
                `[batch, samples]` and `num_frames` counts samples.
        """
        names = batch.get(STORED, ())
        kept = {name: value for name, value in batch.items() if name not in (*names, STORED)}
        stored = {name: batch[name] for name in names}
        if as_sound:
            kept["input_values"] = self.kind.sound_of(stored)
        elif names:
            kept |= self.kind.inputs_of(stored, batch["num_frames"], self.extractor)
        return kept

    def _windows(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        leaves_work = self.kind.is_computed or torch.accelerator.is_available() or get_worker_info() is None
        is_stored = self.stored and leaves_work
        stored = self.kind.stored_batch(rows, self.extractor) if is_stored else None
        return self.kind.batch(rows, self.extractor) if stored is None else {**stored, STORED: tuple(stored)}

    def _metadata_of(self, row: dict[str, Any]) -> list[int]:
        """Numbers for the metadata values of a row; fields with the name of another column have a prefix in rows."""
        values = (row.get(RENAMED + field, row.get(field)) for field in self.metadata_ids)
        return [
            0 if value is None else ids.get(str(value), 0)
            for value, ids in zip(values, self.metadata_ids.values(), strict=True)
        ]

"""Rows of a feature dataset as batches: what training, scoring and figures read."""

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

STORED = "stored"  # of a batch: the names of what its inputs are still to be made of


def clip_key(clip_id: str) -> int:
    """A 63-bit number for a clip's name, the same on every machine: what tensors can carry instead of strings."""
    return int.from_bytes(hashlib.blake2b(clip_id.encode(), digest_size=8).digest(), "big") >> 1


class FeatureCollator:
    """Rows of a feature dataset → a batch, as the extractor would have given it for the windows' sound.

    Args:
        extractor: of the dataset, or for waveforms the one of the model.
        labels: the classes.
        metadata_fields: what a batch is to carry of its clips' metadata: the known values of each field, as text.
        stored: leave windows as they are stored where their kind can, for `on_device` to make inputs of them. Workers
            of a machine without an accelerator do it themselves: they have the time that training lacks.
        of_sound: of a dataset whose features are computed of stored sound; None of stored features.
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
        self.kind: Any = of_sound or kind_of_extractor(extractor)  # OfSound answers as its Kind does
        self.labels = labels
        self.metadata_ids = {
            field: {value: number for number, value in enumerate(values, start=1)}
            for field, values in (metadata_fields or {}).items()
        }

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """The model's inputs, and what training needs beside them.

        Returns:
            `input_values` float32: `[batch, frames, bins]` (fbank; spectrogram, of several channels
            `[batch, channels, frames, bins]`), `[batch, samples]` of the batch's longest window
            (waveform) or `[batch, steps, features]` (classical); for waveforms whatever else the extractor gives, such
            as `attention_mask`, or `input_features` in its place. `num_frames` int64 `[batch]`: how many frames
            (samples, steps) of each window are not padding. `labels` float32 `[batch, classes]`: 1 present, 0 absent,
            NaN unknown; of pseudo-labeled clips, probabilities. `clip_keys` int64 `[batch]`, and if asked for
            `metadata` int64 `[batch, fields]`: 0 where a clip's value is not known, else its place among the field's
            values, from 1.
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
        """A batch with the model's inputs, made on the batch's device of what is stored.

        Args:
            as_sound: leave sound of which features are to be computed as it is, `input_values` `[batch, samples]` and
                `num_frames` its samples: augmentation of waveforms comes before.
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
        """Numbers of what the row says of its clip; metadata that have a name of ours are called otherwise in rows."""
        values = (row.get(RENAMED + field, row.get(field)) for field in self.metadata_ids)
        return [
            0 if value is None else ids.get(str(value), 0)
            for value, ids in zip(values, self.metadata_ids.values(), strict=True)
        ]

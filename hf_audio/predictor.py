"""A trained network and its own extractor: scores of stored windows, embeddings, and logits of any sound over time.

    predictor = Predictor.load("someone/ast-irmas")
    predictor.scores(features, "test")                     per clip, as in reports
    predictor.embeddings(features, "train").values         per window, the inputs of the classifier layer
    predictor.waveform(samples, 44_100).logits             per window, from a sound at any sample rate

Stored features are not normalized, so they are normalized here with the statistics of the *model's* extractor, for any
dataset. If the dataset stores sound, the model's features are computed on its device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import datasets
import numpy as np
import torch
from accelerate.utils import gather
from torch import Tensor
from torch.utils.data import DataLoader

from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.loading.computed_features import as_read_by, is_readable_sound
from hf_audio.data.loading.feature_collator import FeatureCollator, clip_key
from hf_audio.data.loading.features_dataset import FeatureDataset, check_same_extractor
from hf_audio.errors import InputError, unknown_name
from hf_audio.kinds import Form
from hf_audio.metrics import ClipScores, WindowScores
from hf_audio.predictions import WindowEmbeddings
from hf_audio.ranks import process_state
from hf_audio.sound_predictor import SoundPredictor
from hf_audio.terminal import progress

if TYPE_CHECKING:
    from transformers import FeatureExtractionMixin, PreTrainedModel


class Predictor(SoundPredictor):
    """A SoundPredictor that also reads stored features.

    Args:
        model, extractor, options: see SoundPredictor.
        num_workers: processes that read and decode stored windows; 0 reads in this one.
    """

    def __init__(
        self, model: PreTrainedModel, extractor: FeatureExtractionMixin, *, num_workers: int = 0, **options: Any
    ) -> None:
        super().__init__(model, extractor, **options)
        self.num_workers = num_workers

    def scores(self, features: FeatureDataset, split: str) -> ClipScores:
        """Scores of every clip of a split: the mean of its windows' logits. See `window_scores`."""
        return self.window_scores(features, split).clips()

    def window_scores(self, features: FeatureDataset, split: str) -> WindowScores:
        """Scores of every window of a split, with the classes in the order of the features.

        Under `accelerate launch` every process must call it: each scores a part, and all get all scores in order.

        Raises:
            InputError: the model does not read these features, its maximum window is shorter, the classes differ, or
                the split is not on this disk.
        """
        features = self.as_read(features)
        rows = _local_rows(features, split)
        order = self._order_of(features)
        state = process_state()
        sizes = [len(share) for share in np.array_split(np.arange(len(rows)), state.num_processes)]
        own = rows.shard(state.num_processes, state.process_index, contiguous=True) if len(sizes) > 1 else rows
        logits = [torch.zeros(0, len(self.labels))]
        silent = not state.is_main_process
        with progress(desc=f"scores, {split}", unit=" windows", total=len(own), disable=silent) as bar:
            for batch in self._batches(own, features):
                logits.append(self._logits(batch).cpu())
                bar.update(len(batch["labels"]))
        columns = {name: np.array(rows[name]) for name in ("clip_id", "group", "start_s")}
        targets = [features.labels.target_of(row) for row in rows.select_columns(features.label_columns)]
        return WindowScores(
            columns["clip_id"],
            columns["group"],
            np.array([clip_key(clip_id) for clip_id in columns["clip_id"]], dtype=np.int64),
            columns["start_s"].astype(np.float64),
            self._gathered(torch.cat(logits), sizes).numpy()[:, order],
            np.stack(targets),
        )

    def embeddings(self, features: FeatureDataset, split: str) -> WindowEmbeddings:
        """The inputs of the classifier layer for every window of a split, see `embed`; only in this process.

        Args:
            features: local or streamed; their classes may differ from the model's.
            split: one of its splits.

        Raises:
            InputError: the model does not read these features, the split does not exist, or the model has no layer
                named `classifier`.
        """
        return self._of_windows(features, split, "embeddings", lambda batch: self.embed(_without(batch, "metadata")))

    def window_logits(self, features: FeatureDataset, split: str) -> WindowEmbeddings:
        """Logits of every window of a split, with the classes in the model's order; only in this process.

        Arguments and errors are those of `embeddings`; an untrained head is refused too.
        """
        self._require_trained()
        return self._of_windows(features, split, "logits", self._logits)

    def _of_windows(
        self, features: FeatureDataset, split: str, what: str, compute: Callable[[dict[str, Any]], Tensor]
    ) -> WindowEmbeddings:
        """The results of `compute` on each batch, for every window of a split."""
        features = self.as_read(features)
        self.check_reads(features)
        if split not in features.splits:
            raise unknown_name("split", split, features.splits)
        values, clip_ids, starts_s = [], [], []
        with progress(desc=f"{what}, {split}", unit=" windows", total=features.num_windows(split)) as bar:
            for batch in self._batches(features.splits[split], features, keeps=("clip_id", "start_s")):
                clip_ids.extend(batch.pop("clip_id"))
                starts_s.extend(batch.pop("start_s"))
                values.append(compute(batch).float().cpu().numpy())
                bar.update(len(values[-1]))
        return WindowEmbeddings(np.concatenate(values), clip_ids, np.array(starts_s, dtype=np.float64))

    def _usual_device(self) -> torch.device:
        return process_state().device  # several processes may share the machine

    def _batches(
        self, rows: datasets.Dataset | datasets.IterableDataset, features: FeatureDataset, keeps: Sequence[str] = ()
    ) -> Iterator[dict[str, Any]]:
        """Batches of rows in order, with the inputs that the model's extractor would have made from their sound."""
        fields = getattr(self.model.config, "metadata", None)
        collator = FeatureCollator(self.extractor, features.labels, fields, stored=True, of_sound=features.of_sound)
        workers = self.num_workers if isinstance(rows, datasets.Dataset) else 0
        is_pinned = self.device.type == "cuda"
        loader = DataLoader(
            rows,
            self.batch_size,
            collate_fn=partial(_batch_of, collator, keeps),
            num_workers=workers,
            pin_memory=is_pinned,
            shuffle=False,
        )
        for batch in loader:
            yield collator.on_device({name: self._moved(value) for name, value in batch.items()})

    def _moved(self, value: Any) -> Any:
        return value.to(self.device, non_blocking=True) if isinstance(value, Tensor) else value

    def _gathered(self, own: Tensor, sizes: Sequence[int]) -> Tensor:
        """The tensors of all processes, concatenated, in every process."""
        if len(sizes) == 1:
            return own
        padded = own.new_zeros(max(sizes), own.shape[1])
        padded[: len(own)] = own
        together = gather(padded.to(process_state().device)).cpu().reshape(len(sizes), max(sizes), -1)
        return torch.cat([part[:size] for part, size in zip(together, sizes, strict=True)])

    def _order_of(self, features: FeatureDataset) -> list[int]:
        """The indices of the features' classes among the model's.

        Raises:
            InputError: the model has other classes, another task or an untrained head, or does not read the features.
        """
        self.check_reads(features)
        self._require_trained()
        own, wanted = self.labels, features.labels
        if set(own.names) != set(wanted.names) or own.problem_type != wanted.problem_type:
            raise InputError(
                f"{self.name} has {_described(own)}, but {features.source} has {_described(wanted)}: evaluate on "
                "features with the model's classes"
            )
        return [own.label2id[name] for name in wanted.names]

    def _require_trained(self) -> None:
        if self.untrained:
            raise InputError(
                f"{self.name} has no trained classifier (no {self.untrained[0]} among its weights): fine-tune it first"
            )

    def as_read(self, features: FeatureDataset) -> FeatureDataset:
        """Stored sound as the features that the model's extractor computes from it on a device."""
        return as_read_by(features, self.extractor) if is_readable_sound(features, self.extractor) else features

    def check_reads(self, features: FeatureDataset) -> None:
        """Raises InputError if the model would get other inputs from these features than from their sound."""
        features = self.as_read(features)
        if self.extractor is features.extractor and features.of_sound is None:
            return
        check_same_extractor(features.extractor, self.extractor)
        kind, rate = features.kind, self.extractor.sampling_rate
        if kind.form is Form.SOUND:
            found, own = round(features.window_s * rate), getattr(self.extractor, "n_samples", None)
        else:
            found = features.of_sound.num_frames if features.of_sound else features.window_frames
            own = kind.window_frames(self.extractor, features.manifest)
        if own is not None and own < found:
            raise InputError(
                f"The windows of {features.source} ({found:,}) are longer than the maximum of {self.name} ({own:,}), "
                "and would be cut: build features with a shorter --window_s"
            )


def _batch_of(collate: FeatureCollator, keeps: Sequence[str], rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A batch, and some unchanged columns of its rows."""
    return {**collate(rows), **{name: [row[name] for row in rows] for name in keeps}}


def _without(batch: dict[str, Any], name: str) -> dict[str, Any]:
    """A batch without one entry: embeddings use only the sound."""
    return {key: value for key, value in batch.items() if key != name}


def _local_rows(features: FeatureDataset, split: str) -> datasets.Dataset:
    rows = features.splits.get(split)
    if not isinstance(rows, datasets.Dataset):
        local = [name for name, data in features.splits.items() if isinstance(data, datasets.Dataset)]
        raise unknown_name("local split", split, local)
    return rows


def _described(labels: LabelSpace) -> str:
    names = ", ".join(labels.names[:4]) + (" ..." if len(labels) > 4 else "")
    return f"{len(labels)} classes ({names}; {'multi' if labels.is_multi_label else 'single'}-label)"

"""A trained network and its own extractor: scores of stored windows, embeddings, and logits of any sound over time.

    predictor = Predictor.load("someone/ast-irmas")
    predictor.scores(features, "test")                     clip by clip, as a report judges them
    predictor.embeddings(features, "train").values         what the classifier is given of each window
    predictor.waveform(samples, 44_100).logits             window by window, from a sound at any rate

Stored features are measured values, so they are normalised here by the statistics of the *model's* extractor, whatever
dataset they are of.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import datasets
import numpy as np
import soxr
import torch
from accelerate.utils import gather
from torch import Tensor
from torch.utils.data import DataLoader

from hf_audio.data.index.labels import SINGLE_LABEL, LabelSpace
from hf_audio.data.loading.features_dataset import FeatureCollator, FeatureDataset, check_same_extractor, clip_key
from hf_audio.errors import InputError, unknown_name
from hf_audio.kinds import Form, kind_of_extractor
from hf_audio.metrics import ClipScores, WindowScores
from hf_audio.models.foreign_checkpoint import Checkpoint
from hf_audio.models.inputs import model_inputs
from hf_audio.models.lora import is_lora
from hf_audio.models.usage import Usage, usage_in
from hf_audio.predictions import TimedLogits, WindowEmbeddings, checked_sound
from hf_audio.ranks import process_state
from hf_audio.terminal import progress
from hf_audio.windows import SampleWindows

if TYPE_CHECKING:
    from transformers import FeatureExtractionMixin, PreTrainedModel


class Predictor:
    """A trained audio classifier, stock or ours, and the extractor that it was trained with.

    The model is moved to the device and stays in evaluation mode.

    Args:
        model: any class of AutoModelForAudioClassification, with adapters or without.
        extractor: its own; its statistics normalise whatever is predicted.
        usage: the windows it was trained on, and the threshold of its decisions; see `models/usage.py`.
        name: for messages.
        device: by default the accelerator where there is one.
        bf16: compute in bfloat16 where that is safe (autocast). Logits are float32 in any case.
        batch_size: windows at a time.
        num_workers: processes that read and decode stored windows; 0 reads in this one.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        extractor: FeatureExtractionMixin,
        *,
        usage: Usage | None = None,
        name: str | None = None,
        device: torch.device | str | None = None,
        bf16: bool = False,
        batch_size: int = 32,
        num_workers: int = 0,
    ) -> None:
        self.device = torch.device(device or process_state().device)
        self.model, self.extractor = model.eval().to(self.device), extractor
        self.usage, self.name = usage or Usage(), name or type(self._bare).__name__
        self.bf16, self.batch_size, self.num_workers = bf16, batch_size, num_workers
        self.untrained: Sequence[str] = ()  # weights of the head that a checkpoint did not have: its answers are noise

    @classmethod
    def load(cls, name: str, *, token: str | None = None, seed: int = 0, **options: Any) -> Predictor:
        """A published or local classifier with its extractor.

        Args:
            name: a run folder or a repository on the Hub.
            token: for a private one.
            seed: of weights that the checkpoint does not have, where it was trained for something else.
            options: `device`, `bf16`, `batch_size`, `num_workers`.

        Raises:
            InputError: no such model, or one that cannot be used.
        """
        checkpoint = Checkpoint(name, token)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model, absent = checkpoint.load(checkpoint.config)
        usage = usage_in(checkpoint.settings, name)
        found = cls(model, checkpoint.extractor, usage=usage, name=name, **options)
        found.untrained = tuple(absent)
        return found

    @cached_property
    def labels(self) -> LabelSpace:
        """The model's classes, in the order of its logits."""
        config = self.model.config
        names = tuple(config.id2label[index] for index in range(len(config.id2label)))
        return LabelSpace(names, config.problem_type or SINGLE_LABEL)

    @property
    def decision_threshold(self) -> float:
        """Of several labels: scores from here on are a yes; 0.5 where its config does not say."""
        return 0.5 if self.usage.decision_threshold is None else self.usage.decision_threshold

    def scores(self, features: FeatureDataset, split: str) -> ClipScores:
        """Scores of every clip of a split: the mean of its windows' logits. See `window_scores`."""
        return self.window_scores(features, split).clips()

    def window_scores(self, features: FeatureDataset, split: str) -> WindowScores:
        """Scores of every window of a split, the classes in the order of the features.

        Under `accelerate launch` every process must call it: each scores a part, and all get the whole, in order.

        Raises:
            InputError: features that the model does not read, longer windows than it hears, other classes, or no such
                split on this disk.
        """
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
        """What the classifier is given of every window of a split, see `embed`; by this process alone.

        Args:
            features: local or streamed; their classes may be others than the model's.

        Raises:
            InputError: features that the model does not read, no such split, or a model without a layer called
                `classifier`.
        """
        self.check_reads(features)
        if split not in features.splits:
            raise unknown_name("split", split, features.splits)
        values, clip_ids, starts_s = [], [], []
        with progress(desc=f"embeddings, {split}", unit=" windows", total=features.num_windows(split)) as bar:
            for batch in self._batches(features.splits[split], features, keeps=("clip_id", "start_s")):
                clip_ids.extend(batch.pop("clip_id"))
                starts_s.extend(batch.pop("start_s"))
                batch.pop("metadata", None)  # an embedding is of the sound alone
                values.append(self.embed(batch).float().cpu().numpy())
                bar.update(len(values[-1]))
        return WindowEmbeddings(np.concatenate(values), clip_ids, np.array(starts_s, dtype=np.float64))

    def embed(self, inputs: dict[str, Tensor]) -> Tensor:
        """What the model's classifier is given: one vector a window, `[batch, size]`.

        That is the pooled hidden state of AST, Wav2Vec2 and their like, and of our own models the embedding with the
        metadata behind it, all unknown.

        Args:
            inputs: of the extractor: `input_values` or `input_features`, and what else it gives.
        """
        classifier = getattr(self.model, "classifier", None)
        if not isinstance(classifier, torch.nn.Module):
            raise InputError(
                f"{self.name} is a {type(self.model).__name__}, which has no `classifier` to take embeddings before"
            )
        given: list[Tensor] = []
        hook = classifier.register_forward_pre_hook(lambda layer, arguments: given.append(arguments[0]))
        try:
            self._outputs(inputs)
        finally:
            hook.remove()
        return given[-1]

    def waveform(self, samples: np.ndarray, sample_rate: int) -> TimedLogits:
        """Logits of the windows of a sound, cut as in training; shorter sounds than one frame are padded with silence.

        Args:
            samples: floats in [-1, 1], `[samples]` or `[channels, samples]`. Models that tell left from right hear the
                first two channels, the others their mean.
            sample_rate: in Hz; it is resampled by soxr, as for training.

        Raises:
            InputError: no sound, or a model whose windows are not known.
        """
        sound = checked_sound(samples, sample_rate)
        rate = self.extractor.sampling_rate
        sound = sound[:2] if getattr(self.extractor, "is_stereo", False) else sound.mean(axis=0, keepdims=True)
        if sample_rate != rate:
            sound = soxr.resample(sound.T, sample_rate, rate).T
        windows = self.windows.cut(sound if len(sound) == 2 else sound[0])
        logits = []
        for first in range(0, len(windows), self.batch_size):
            inputs = self.extractor(windows[first : first + self.batch_size], sampling_rate=rate, return_tensors="pt")
            logits.append(self._logits(dict(inputs)).cpu().numpy())
        starts_s = np.array(self.windows.starts(sound.shape[-1])) / rate
        return TimedLogits(starts_s, starts_s + self.windows.window / rate, np.concatenate(logits), self.labels)

    @cached_property
    def windows(self) -> SampleWindows:
        """How it cuts a sound at its own rate.

        Raises:
            InputError: its config does not say how long its windows are.
        """
        if self.usage.window_s is None:
            raise InputError(
                f"{self.name} does not say how long its windows are (window_s in config.json): make the Predictor with "
                "usage=Usage(window_s=..., hop_s=...), as it was trained"
            )
        kind, hop_s = kind_of_extractor(self.extractor), self.usage.hop_s or self.usage.window_s
        return kind.sample_windows(self.extractor.to_dict(), self.usage.window_s, hop_s)

    @property
    def _bare(self) -> PreTrainedModel:
        """The model without its adapters, if it has any."""
        return self.model.get_base_model() if is_lora(self.model) else self.model

    def _batches(
        self, rows: datasets.Dataset | datasets.IterableDataset, features: FeatureDataset, keeps: Sequence[str] = ()
    ) -> Iterator[dict[str, Any]]:
        """Rows in order, as the model's extractor would have made them of their sound."""
        fields = getattr(self.model.config, "metadata", None)
        collator = FeatureCollator(self.extractor, features.labels, fields, stored=True)
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

    def _logits(self, batch: dict[str, Any]) -> Tensor:
        """float32 `[batch, classes]`."""
        return self._outputs(batch).logits.float()

    def _outputs(self, batch: dict[str, Tensor]) -> Any:
        inputs = model_inputs(self._bare, batch)
        on_device = {name: self._moved(value) for name, value in inputs.items()}
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            return self.model(**on_device)

    def _moved(self, value: Any) -> Any:
        return value.to(self.device, non_blocking=True) if isinstance(value, Tensor) else value

    def _gathered(self, own: Tensor, sizes: Sequence[int]) -> Tensor:
        """What all processes have, one behind the other, in every process."""
        if len(sizes) == 1:
            return own
        padded = own.new_zeros(max(sizes), own.shape[1])
        padded[: len(own)] = own
        together = gather(padded.to(process_state().device)).cpu().reshape(len(sizes), max(sizes), -1)
        return torch.cat([part[:size] for part, size in zip(together, sizes, strict=True)])

    def _order_of(self, features: FeatureDataset) -> list[int]:
        """The places of the features' classes among the model's.

        Raises:
            InputError: it has other classes, another task, a head that was not trained, or does not read them.
        """
        self.check_reads(features)
        if self.untrained:
            raise InputError(
                f"{self.name} has no trained classifier (no {self.untrained[0]} among its weights): fine-tune it first"
            )
        own, wanted = self.labels, features.labels
        if set(own.names) != set(wanted.names) or own.problem_type != wanted.problem_type:
            raise InputError(
                f"{self.name} tells {_described(own)} apart and {features.source} has {_described(wanted)}: evaluate "
                "on features with the model's classes"
            )
        return [own.label2id[name] for name in wanted.names]

    def check_reads(self, features: FeatureDataset) -> None:
        """Raises InputError where features would be another thing to the model than their sound is."""
        if self.extractor is features.extractor:
            return
        check_same_extractor(features.extractor, self.extractor)
        kind, rate = features.kind, self.extractor.sampling_rate
        if kind.form is Form.SOUND:
            found, own = round(features.window_s * rate), getattr(self.extractor, "n_samples", None)
        else:
            found, own = features.window_frames, kind.window_frames(self.extractor, features.manifest)
        if own is not None and own < found:
            raise InputError(
                f"The windows of {features.source} are longer ({found:,}) than those that {self.name} hears ({own:,}), "
                f"and would be cut: build features with a shorter --window_s"
            )


def _batch_of(collate: FeatureCollator, keeps: Sequence[str], rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A batch, and some columns of its rows as they are."""
    return {**collate(rows), **{name: [row[name] for row in rows] for name in keeps}}


def _local_rows(features: FeatureDataset, split: str) -> datasets.Dataset:
    rows = features.splits.get(split)
    if not isinstance(rows, datasets.Dataset):
        local = [name for name, data in features.splits.items() if isinstance(data, datasets.Dataset)]
        raise unknown_name("local split", split, local)
    return rows


def _described(labels: LabelSpace) -> str:
    names = ", ".join(labels.names[:4]) + (" ..." if len(labels) > 4 else "")
    return f"{len(labels)} classes ({names}; {'several' if labels.is_multi_label else 'one'} of them at a time)"

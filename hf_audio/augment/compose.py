"""Sequences of augmentations, and their creation from a recipe's settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import FeatureExtractionMixin, Wav2Vec2FeatureExtractor

from hf_audio.augment.augmentation import Augmentation
from hf_audio.augment.draws import Draws, Lot
from hf_audio.augment.energies import Normalization, Windows
from hf_audio.augment.spectrogram_steps import batch_mix, refuse_without_sense, spectrogram_steps
from hf_audio.augment.waveform.normalized import no_waveforms, of_normalized_waveforms
from hf_audio.augment.waveform.step import WaveformStep
from hf_audio.config import AugmentConfig
from hf_audio.data.index.labels import LabelSpace
from hf_audio.errors import InputError
from hf_audio.kinds import Form, kind_of_extractor, names_of


@dataclass(frozen=True)
class Compose:
    """Applies augmentations one after another.

    Its `repr` contains all parameters, so that a run can check whether it is resumed with the same parameters.

    Attributes:
        steps: augmentations of energies come first.
        normalization: how features `[batch, (channels,) frames, bins]` are normalized; None for waveforms `[batch,
            samples]`.
    """

    steps: tuple[Augmentation, ...]
    normalization: Normalization | None

    def __post_init__(self) -> None:
        reads = [step.reads_energies for step in self.steps]
        if reads != sorted(reads, reverse=True):
            names = ", ".join(type(step).__name__ for step in self.steps)
            raise ValueError(f"Augmentations of energies must come first, found {names}")

    def draw(self, places: Sequence[tuple[int, ...]]) -> Draws:
        """The numbers of a micro-batch, on the CPU.

        Args:
            places: (seed, step, place in the global batch) of each window.
        """
        lot = Lot.at(places)
        return Draws.of([step.draw(lot) for step in self.steps])

    def __call__(
        self, features: Tensor, targets: Tensor, num_frames: Tensor, draws: Draws
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The augmented features, targets and num_frames.

        Args:
            features: `[batch, (channels,) frames, bins]`, or waveforms `[batch, samples]`.
            targets: float32 `[batch, classes]`.
            num_frames: int64 `[batch]`, number of frames (samples) per window that are not padding.
            draws: the result of `draw`.
        """
        drawn = self._drawn(draws, features.device)
        if self.normalization is None:
            windows = _through(drawn, Windows.of(features, targets, num_frames))
        else:
            images = features if features.ndim == 4 else features.unsqueeze(1)
            windows = self._augmented(Windows.of(images, targets, num_frames), drawn)
        return windows.values.view_as(features).to(features.dtype), windows.targets, windows.num_frames

    def _drawn(self, draws: Draws, device: torch.device) -> list[tuple[Augmentation, Any]]:
        """Each step with its numbers, on the device where it needs them."""
        there, here = draws.on(device), draws.on(torch.device("cpu"))
        on_host = [getattr(step, "draws_on_host", False) for step in self.steps]
        return [
            (step, own if host else others)
            for step, own, others, host in zip(self.steps, here, there, on_host, strict=True)
        ]

    def _augmented(self, windows: Windows, drawn: list[tuple[Augmentation, Any]]) -> Windows:
        """Augments energies, in which padding is silence, then normalized inputs; finally restores the padding."""
        on_energies = [one for one in drawn if one[0].reads_energies]
        if on_energies:
            energies = self.normalization.undo(windows.values).masked_fill_(windows.padding(), -torch.inf)
            windows = _through(on_energies, windows._replace(values=energies))
            windows = windows._replace(values=self.normalization.apply(windows.values))
        windows = _through([one for one in drawn if not one[0].reads_energies], windows)
        padded = windows.values.masked_fill(windows.padding(), self.normalization.padding_value)
        return windows._replace(values=padded)


def _through(drawn: list[tuple[Augmentation, Any]], windows: Windows) -> Windows:
    for step, numbers in drawn:
        windows = step.apply(windows, numbers)
    return windows


def require_mixable(config: AugmentConfig, labels: LabelSpace) -> None:
    """Raises InputError for mixtures that keep all labels in a single-label task."""
    if config.batch_mix_probability and not labels.is_multi_label:
        raise InputError(
            "--batch_mix_probability combines labels, but each clip has exactly one class here: build features with "
            "--several_labels, or leave it out"
        )
    is_mixed = config.mixup_alpha and config.mixup_probability
    if is_mixed and config.mixup_labels == "union" and not labels.is_multi_label:
        raise InputError(
            "--mixup_labels union gives a mixed window the labels of both, but each clip has exactly one class here: "
            "use --mixup_labels interpolate"
        )


def require_sense(config: AugmentConfig, extractor: FeatureExtractionMixin, labels: LabelSpace | None = None) -> None:
    """Refuses augmentation that makes no sense for a kind of features, before features are built.

    Raises:
        InputError: mixtures that keep all labels in a single-label task; augmentation of features that are not
            spectrograms, except mixing of waveforms; or of certain spectrograms, see `refuse_without_sense`.
    """
    if labels is not None:
        require_mixable(config, labels)
    wanted = [name for name, value in vars(config).items() if value != getattr(AugmentConfig, name)]
    if isinstance(extractor, Wav2Vec2FeatureExtractor) and all(name.startswith("batch_mix_") for name in wanted):
        return
    if kind_of_extractor(extractor).scale(extractor) is not None:
        refuse_without_sense(config, extractor)
    elif wanted:
        raise InputError(
            f"--{wanted[0]} augments log-mel features (--features {names_of(Form.IMAGE)}), but this run uses others: "
            "leave it out"
        )


def augmentation_for(
    config: AugmentConfig,
    extractor: FeatureExtractionMixin,
    labels: LabelSpace | None = None,
    waveform: tuple[WaveformStep, ...] = (),
) -> Compose | None:
    """The augmentation of these settings, None if all are off.

    For spectrograms, it consists of `spectrogram_steps`; for waveforms, of mixing and the steps in `waveform`.

    Args:
        waveform: steps from `waveform_steps`, for features that are waveforms.

    Raises:
        InputError: see `require_sense` and `spectrogram_steps`; or waveforms are augmented but the features are not
            waveforms, or their level is changed but the extractor normalizes it.
    """
    require_sense(config, extractor, labels)
    steps: Any
    if isinstance(extractor, Wav2Vec2FeatureExtractor):
        steps = (*batch_mix(config, extractor.sampling_rate), *of_normalized_waveforms(waveform, extractor))
        return Compose(steps, None) if steps else None
    if waveform:
        raise no_waveforms(extractor)
    if kind_of_extractor(extractor).scale(extractor) is None:
        return None
    steps = spectrogram_steps(config, extractor)
    return Compose(steps, Normalization.of(extractor)) if steps else None

"""Augmentation of sound whose features are computed on the device: first as waveforms, then as what was computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor
from transformers import FeatureExtractionMixin

from hf_audio.augment.compose import Compose
from hf_audio.augment.draws import Draws, Lot
from hf_audio.kinds import OfSound


@dataclass(frozen=True)
class BeforeFeatures:
    """Waveforms → augmented → features → augmented.

    Attributes:
        sound: what is done to the waveforms.
        features: what is done to the features, or None.
        of_sound: how they are computed.
        extractor: of the dataset, which says how.
    """

    sound: Compose
    features: Compose | None
    of_sound: OfSound = field(repr=False)  # run settings name the dataset, which decides these two
    extractor: FeatureExtractionMixin = field(repr=False)

    def draw(self, places: Sequence[tuple[int, ...]]) -> Draws:
        """The numbers of a micro-batch, see `Compose.draw`: each window's generator goes on from sound to features."""
        lot = Lot.at(places)
        steps = (*self.sound.steps, *(self.features.steps if self.features else ()))
        return Draws.of([step.draw(lot) for step in steps])

    def __call__(
        self, waveforms: Tensor, targets: Tensor, num_samples: Tensor, draws: Draws
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Waveforms float32 `[batch, samples]` → a model's inputs, targets and num_frames, see `Compose`."""
        of_waveforms, of_features = draws.split(len(self.sound.steps))
        waveforms, targets, num_samples = self.sound(waveforms, targets, num_samples, of_waveforms)
        values, num_frames = self.of_sound.features_of(waveforms, num_samples, self.extractor)
        if self.features is None:
            return values, targets, num_frames
        return self.features(values, targets, num_frames, of_features)

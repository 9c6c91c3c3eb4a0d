"""Augmentation with features that are computed on the device: first of the waveforms, then of the features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor
from transformers import FeatureExtractionMixin

from hf_audio.augment.augmentation import Augmentation
from hf_audio.augment.compose import Compose, augmentation_for
from hf_audio.augment.draws import Draws, Lot
from hf_audio.augment.waveform import Gain, Polarity, WaveformStep
from hf_audio.config import AugmentConfig
from hf_audio.data.loading.features_dataset import FeatureDataset
from hf_audio.errors import InputError
from hf_audio.kinds import OfSound


@dataclass(frozen=True)
class BeforeFeatures:
    """Waveforms → augmented → features → augmented.

    Attributes:
        sound: augmentation of the waveforms.
        features: augmentation of the features, or None.
        of_sound: computes the features.
        extractor: the dataset's extractor, with the settings of the features.
    """

    sound: Compose
    features: Compose | None
    of_sound: OfSound = field(repr=False)  # the dataset in the run's settings determines these two
    extractor: FeatureExtractionMixin = field(repr=False)

    @property
    def steps(self) -> tuple[Augmentation, ...]:
        """All augmentations, in order."""
        return (*self.sound.steps, *(self.features.steps if self.features else ()))

    def draw(self, places: Sequence[tuple[int, ...]]) -> Draws:
        """The numbers of a micro-batch, see `Compose.draw`: each window has one generator for both waveforms and
        features."""
        lot = Lot.at(places)
        return Draws.of([step.draw(lot) for step in self.steps])

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


def augmentation_of(
    features: FeatureDataset, config: AugmentConfig, steps: tuple[WaveformStep, ...] = ()
) -> Compose | BeforeFeatures | None:
    """The augmentation of these settings, for stored features or features computed from waveforms.

    Args:
        steps: augmentations of waveforms, from `waveform_steps`.

    Raises:
        InputError: see `augmentation_for`; or an augmentation would not change the features.
    """
    extractor = features.extractor
    if features.of_sound is None or not steps:
        return augmentation_for(config, extractor, features.labels, steps)
    _refuse_unheard(steps, extractor)
    of_features = augmentation_for(config, extractor, features.labels)
    return BeforeFeatures(Compose(steps, None), of_features, features.of_sound, extractor)


def _refuse_unheard(steps: Sequence[WaveformStep], extractor: FeatureExtractionMixin) -> None:
    by_clip = getattr(extractor, "normalization", None) == "clip"
    unheard = [
        ("polarity", Polarity, True, "polarity does not change a spectrogram"),
        ("gain", Gain, by_clip, "--normalization clip removes each window's level"),
    ]
    for name, kind, is_unheard, why in unheard:
        if is_unheard and any(isinstance(step, kind) for step in steps):
            flag = f"--wave_{name}_probability"
            raise InputError(f"{flag} has no effect, since {why}: leave it out ({flag} 0)")

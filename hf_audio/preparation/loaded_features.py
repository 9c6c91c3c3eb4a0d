"""Compares a loaded feature dataset with the settings of a run."""

from __future__ import annotations

from hf_audio.config import FeatureConfig
from hf_audio.data.loading.computed_features import computed_features
from hf_audio.data.loading.features_dataset import FeatureDataset, check_same_extractor
from hf_audio.errors import InputError
from hf_audio.kinds import Form, kind_named
from hf_audio.preparation.extractors import stored_extractor, window_extractor


def as_asked(features: FeatureDataset, settings: FeatureConfig) -> FeatureDataset:
    """The features themselves; with `features_on_device`, the features computed from the stored waveforms.

    Raises:
        InputError: they cannot be computed.
    """
    if not settings.features_on_device:
        return features
    return computed_features(features, window_extractor(settings))


def check_wanted(features: FeatureDataset, settings: FeatureConfig) -> None:
    """Refuses settings that differ from those of a stored dataset, instead of silently ignoring them.

    Raises:
        InputError: names the difference.
    """
    if not settings.features_on_device:
        _check_kind(features, settings)
        check_same_extractor(features.extractor, stored_extractor(settings).to_feature_extractor(1, 0.0, 1.0))
    for name in ("window_s", "hop_s"):
        wanted_s, stored_s = getattr(settings, name), features.manifest[name]
        if wanted_s and abs(wanted_s - stored_s) > 1e-6:
            raise InputError(
                f"{features.source} was built with {name} {stored_s:g} but this run has {wanted_s:g}: give --{name} "
                f"{stored_s:g}, or rebuild the features from --data_dir"
            )


def _check_kind(features: FeatureDataset, settings: FeatureConfig) -> None:
    found, wanted = features.kind, settings.features
    if found.name != wanted:
        can_compute = found.form is Form.SOUND and kind_named(wanted).is_computable
        on_device = "add --features_on_device, " if can_compute else ""
        raise InputError(
            f"{features.source} holds {found.name} features but this run needs {wanted}: {on_device}give --features "
            f"{found.name}, or a dataset of {wanted} features"
        )

"""Creates the feature extractor according to the settings."""

from __future__ import annotations

from hf_audio.config import FeatureConfig
from hf_audio.data.loading.computed_features import require_computable
from hf_audio.errors import InputError, unknown_name
from hf_audio.kinds import KINDS, WindowExtractor
from hf_audio.kinds.waveform import Waveform

OF_ALL = ("features", "features_on_device", "window_s", "hop_s")


def window_extractor(settings: FeatureConfig) -> WindowExtractor:
    """The extractor of the features in these settings.

    Raises:
        InputError: the features are unknown or cannot be computed on a device, or a setting is for other features.
    """
    if settings.features not in KINDS:
        raise unknown_name("features", settings.features, KINDS)
    kind = KINDS[settings.features]
    default = FeatureConfig()
    given = {
        name: value
        for name, value in vars(settings).items()
        if name not in OF_ALL and value is not None and (name in kind.settings or value != getattr(default, name))
    }
    for name in given:
        if name not in kind.settings:
            others = " or ".join(other.name for other in KINDS.values() if name in other.settings)
            raise InputError(
                f"--{name} is for {others} features, but these are {settings.features}: give --features "
                f"{others}, or leave it out"
            )
    source = kind.extractor(**given)
    if settings.features_on_device:
        require_computable(source)
    return source


def stored_extractor(settings: FeatureConfig) -> WindowExtractor:
    """The extractor of the windows that are stored: of waveforms if features are computed on the device.

    Raises:
        InputError: see `window_extractor`.
    """
    source = window_extractor(settings)
    return Waveform(source.sample_rate) if settings.features_on_device else source


def settings_of(kind: str) -> tuple[str, ...]:
    """The settings of a kind of features."""
    return (*OF_ALL, *KINDS[kind].settings)

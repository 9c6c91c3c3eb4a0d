"""From settings to what makes the features."""

from __future__ import annotations

from hf_audio.config import FeatureConfig
from hf_audio.errors import InputError, unknown_name
from hf_audio.kinds import KINDS, WindowExtractor

OF_ALL = ("features", "window_s", "hop_s")


def window_extractor(settings: FeatureConfig) -> WindowExtractor:
    """What makes the features that are asked for.

    Raises:
        InputError: there are no features of that name, or a setting of other features is given.
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
                f"--{name} is for {others} features and these are {settings.features}: give --features "
                f"{others}, or leave it out"
            )
    return kind.extractor(**given)


def settings_of(kind: str) -> tuple[str, ...]:
    """The settings that features of a kind have."""
    return (*OF_ALL, *KINDS[kind].settings)

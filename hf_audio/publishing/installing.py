"""The packages that a card's code needs. `make compatibility` installs them and runs the card's code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hf_audio.markdown import Markdown, code

# The oldest release with which `make compatibility` runs the unmodified code of every card.
OLDEST_TRANSFORMERS = "4.48"


def install_line(packages: Iterable[str]) -> Markdown:
    """The arguments of `pip install`, quoted where a shell would interpret them.

    >>> install_line(["torch", "transformers>=4.48"])
    'torch "transformers>=4.48"'
    """
    return code(" ".join(f'"{one}"' if set(one) & set("<>=[]") else one for one in packages))


def network_packages(config: Mapping[str, Any], extractor: Mapping[str, Any]) -> list[str]:
    """The packages that the code of a network's card needs, without their dependencies.

    Args:
        config, extractor: contents of config.json and preprocessor_config.json.
    """
    return [f"transformers>={OLDEST_TRANSFORMERS}", "torch", "soundfile", "soxr", *needed_by(config, extractor)]


def needed_by(config: Mapping[str, Any], extractor: Mapping[str, Any]) -> list[str]:
    """Packages that only some networks and extractors need."""
    packages = ["timm>=1.0.26"] if "timm" in str(config.get("model_type")) else []
    if extractor.get("feature_extractor_type") == "ClassicalFeatureExtractor":
        packages.append("librosa>=0.11")
    return packages

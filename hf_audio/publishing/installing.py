"""What a card tells its readers to install. `make compatibility` installs the same and runs the card's code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hf_audio.markdown import Markdown, code

# The oldest release that `make compatibility` runs every card's code with, as it stands.
OLDEST_TRANSFORMERS = "4.48"


def install_line(packages: Iterable[str]) -> Markdown:
    """The arguments of `pip install`; what a shell would read otherwise stands in quotation marks.

    >>> install_line(["torch", "transformers>=4.48"])
    'torch "transformers>=4.48"'
    """
    return code(" ".join(f'"{one}"' if set(one) & set("<>=[]") else one for one in packages))


def network_packages(config: Mapping[str, Any], extractor: Mapping[str, Any]) -> list[str]:
    """What the code of a network's card needs, beside what these bring along themselves.

    Args:
        config, extractor: what its config.json and its preprocessor_config.json hold.
    """
    return [f"transformers>={OLDEST_TRANSFORMERS}", "torch", "soundfile", "soxr", *needed_by(config, extractor)]


def needed_by(config: Mapping[str, Any], extractor: Mapping[str, Any]) -> list[str]:
    """Packages that some networks and extractors need, and others do not."""
    packages = ["timm>=1.0.26"] if "timm" in str(config.get("model_type")) else []
    if extractor.get("feature_extractor_type") == "ClassicalFeatureExtractor":
        packages.append("librosa>=0.11")
    return packages

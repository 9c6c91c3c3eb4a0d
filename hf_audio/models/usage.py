"""How to use a trained classifier: fields of its config.json in addition to those of transformers.

    decision_threshold   multi-label: minimum score at which a class counts as present
    window_s, hop_s      the windows that it was trained and evaluated on, in seconds
    cut_as               the kind of features whose rule cuts recordings into windows, if it is not the model's own:
                         "waveform" if features were computed from stored waveforms

With these fields no other file is needed: model cards, the Predictor and other programs read the same numbers.
transformers stores them as attributes of the config and does not use them; its pipeline applies no threshold.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from hf_audio.errors import InputError
from hf_audio.files import read_json, write_json
from hf_audio.kinds import KINDS, STORED_SOUND, Form
from hf_audio.limits import Field, number, one_of

FIELDS: dict[str, Field] = {
    "decision_threshold": number(0, 1),
    "window_s": number(1e-3, 86_400),
    "hop_s": number(1e-3, 86_400),
    "cut_as": one_of(*(name for name, kind in KINDS.items() if kind.form is Form.SOUND)),
}


class Usage(NamedTuple):
    """The fields above; None if missing from the config."""

    decision_threshold: float | None = None
    window_s: float | None = None
    hop_s: float | None = None
    cut_as: str | None = None

    @classmethod
    def of_features(cls, manifest: Mapping[str, Any], decision_threshold: float | None = None) -> Usage:
        """The usage of a model that was trained on features with this manifest."""
        stored = manifest.get(STORED_SOUND)
        return cls(decision_threshold, manifest["window_s"], manifest["hop_s"], stored and stored["kind"])


def usage_in(settings: Mapping[str, Any], source: str) -> Usage:
    """The usage in a config.json, which may be untrusted.

    Raises:
        InputError: an invalid value.
    """
    found = {name: settings[name] for name in FIELDS if settings.get(name) is not None}
    for name, value in found.items():
        if not FIELDS[name].holds(value):
            expected = FIELDS[name].described
            raise InputError(f"{source} has {name} {str(value)[:40]!r} in its config.json: expected {expected}")
    return Usage(**found)


def write_usage(folder: Path, usage: Usage) -> None:
    """Writes the usage into the config.json of a saved model. Does nothing if the folder has none."""
    path = folder / "config.json"
    if not path.is_file():
        return
    content = read_json(path)
    said = {name: value for name, value in usage._asdict().items() if value is not None}
    others = {name: value for name, value in content.items() if name not in FIELDS}
    if {**others, **said} != content:
        write_json(path, {**others, **said})

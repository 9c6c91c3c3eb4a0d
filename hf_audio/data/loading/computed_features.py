"""Features computed from stored waveforms, which models, baselines and reports then read as log-mel.

    sound = load_features("runs/x/features")                     # kind "waveform"
    features = computed_features(sound, KaldiFbank())            # kind "fbank", computed on the model's device

Rows stay waveforms, so that batches can be augmented as waveforms before their features are computed.
"""

from __future__ import annotations

import dataclasses

from transformers import FeatureExtractionMixin

from hf_audio.data.loading.feature_statistics import statistics_of
from hf_audio.data.loading.features_dataset import FeatureDataset
from hf_audio.errors import InputError
from hf_audio.kinds import KINDS, STORED_SOUND, Form, Kind, OfSound, WindowExtractor, kind_of, kind_of_extractor
from hf_audio.ranks import from_first_process


def computed_features(sound: FeatureDataset, source: WindowExtractor) -> FeatureDataset:
    """Stored waveforms as features, normalized by the mean and standard deviation of the train split.

    Under `accelerate launch`, every process must call it; one of them computes the statistics.

    Args:
        sound: a dataset of kind "waveform", local or streamed.
        source: the features to compute: `KaldiFbank`, `Spectrogram`.

    Raises:
        InputError: the features cannot be computed on a device, or not from the stored windows.
    """
    require_computable(source)
    _require_sound(sound, source)
    frames = require_frames(source, sound.window_s)
    mean, std, num_windows = 0.0, 1.0, 0
    if source.normalization == "dataset":  # type: ignore[attr-defined]  # all computable kinds have it
        of_sound = _of_sound(sound, source.to_feature_extractor(frames, mean, std))
        mean, std, num_windows = from_first_process(lambda: statistics_of(sound, of_sound))
    computed = as_read_by(sound, source.to_feature_extractor(frames, mean, std))
    statistics = {"mean": mean, "std": std, "num_windows": num_windows}
    return dataclasses.replace(computed, manifest={**computed.manifest, "statistics": statistics})


def as_read_by(sound: FeatureDataset, extractor: FeatureExtractionMixin) -> FeatureDataset:
    """The same for a model's own extractor, with its statistics and window length."""
    of_sound = _of_sound(sound, extractor)
    manifest = {**sound.manifest, "extractor": of_sound.source.parameters, STORED_SOUND: sound.parameters}
    return dataclasses.replace(sound, extractor=extractor, manifest=manifest, of_sound=of_sound)


def is_readable_sound(features: FeatureDataset, extractor: FeatureExtractionMixin) -> bool:
    """Whether this extractor's features can be computed from stored sound."""
    is_sound = features.kind.form is Form.SOUND and features.parameters["sampling_rate"] == extractor.sampling_rate
    return is_sound and kind_of_extractor(extractor).is_computable and not getattr(extractor, "is_stereo", False)


def require_computable(source: WindowExtractor) -> None:
    """Raises InputError for features that cannot be computed on a device."""
    kind = _kind(source)
    if not kind.is_computable:
        names = " or ".join(name for name, one in KINDS.items() if one.is_computable)
        raise InputError(
            f"{kind.name} features cannot be computed on a device: give --features {names}, or leave out "
            "--features_on_device"
        )
    if source.is_stereo:
        raise InputError(
            "Sound is stored in mono, but left and right in --channels need stereo: leave them out, or leave out "
            "--features_on_device"
        )


def require_frames(source: WindowExtractor, window_s: float) -> int:
    """The number of frames in a window; raises InputError if it has none."""
    frames = source.window_frames(window_s)
    if frames < 1:
        raise InputError(
            f"Windows of {window_s:g} s are too short for {_kind(source).name} features, which need at least "
            f"{source.frame_samples / source.sample_rate:g} s: give a longer --window_s"
        )
    return frames


def _require_sound(sound: FeatureDataset, source: WindowExtractor) -> None:
    if sound.kind.form is not Form.SOUND:
        raise InputError(
            f"{sound.source} contains {sound.kind.name} features, which are already computed: leave out "
            "--features_on_device, or give a dataset of waveforms"
        )
    found = sound.parameters["sampling_rate"]
    if found != source.sample_rate:
        raise InputError(
            f"{sound.source} contains sound at {found} Hz, but this run needs {source.sample_rate} Hz: give "
            f"--sample_rate {found}, or build it again from --data_dir"
        )


def _kind(source: WindowExtractor) -> Kind:
    return kind_of(source.parameters)


def _of_sound(sound: FeatureDataset, extractor: FeatureExtractionMixin) -> OfSound:
    return OfSound(kind_of_extractor(extractor), extractor, sound.parameters, sound.window_s)

"""Measures whether a model's predictions depend on the resampler: soxr as in training, or that of a stock pipeline.

If a recording has a lower sample rate than the model, its upper bands contain only artifacts of the resampler, which
the logarithm amplifies.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import soxr
import torch
from torchaudio.functional import resample

from hf_audio.data.index.columns import is_file, is_one_of, of_split, without_mixtures
from hf_audio.data.index.table import Clip, rows_of
from hf_audio.data.loading.features_dataset import FeatureDataset
from hf_audio.data.recordings.audio import AudioError, probe, read_audio
from hf_audio.data.recordings.headers import Source
from hf_audio.data.recordings.sampling import where_containers_begin
from hf_audio.metrics import decide
from hf_audio.predictor import Predictor

STOCK = "torchaudio.functional.resample"
MAX_CLIPS, MAX_S = 64, 30.0  # only the beginning of each clip is used
MAX_HEADERS = 5_000  # read to find such clips
MAX_FILTER_SIZE = 20_000_000  # of torchaudio's filter: between rates such as 44,101 and 16,000 Hz it is larger


def resampling_facts(
    predictor: Predictor | None,
    features: FeatureDataset,
    split: str,
    recordings: Callable[[], pa.Table] | None,
    threshold: float,
    token: str | bool | None = None,
) -> dict[str, Any] | None:
    """How many predictions change when recordings are resampled as in `AudioClassificationPipeline`.

    Args:
        predictor: the trained network; None for models that are not published for that pipeline.
        split: the evaluated split.
        recordings: returns the clips that the features were computed from; None if they are not on this machine.
        threshold: for multi-label decisions.
        token: Hub token, for recordings there.

    Returns:
        For the report: `source_rates` of the split's recordings and, for a sample of those whose rate differs from the
        model's, `num_clips` and `num_other_answers` (None without recordings). None if nothing was resampled.
    """
    rate = features.extractor.sampling_rate
    rates = features.manifest["splits"][split].get("source_rates", {})
    if predictor is None or (rates and set(rates) == {str(rate)}):
        return None
    facts = {"source_rates": rates, "stock_resampler": STOCK, "num_clips": 0, "num_other_answers": None}
    if recordings is None:
        return facts
    kept = set(features.splits[split]["clip_id"])
    clips = of_split(without_mixtures(recordings()), split)
    clips = clips.filter(is_one_of(clips["clip_id"], kept))
    differ = []
    for clip, source, own in _at_another_rate(_recordings(clips, token), rate):
        with contextlib.suppress(AudioError):  # the beginning may be silent
            one, other = (
                _answer(predictor, rate, sound, threshold) for sound in _both_ways(clip, source, own, features)
            )
            differ.append(not np.array_equal(one, other))
    return facts | {"num_clips": len(differ), "num_other_answers": sum(differ) if differ else None}


def low_rates_note(rates: Mapping[str, int], sample_rate: int, split: str) -> list[str]:
    """A note if most recordings of a split have sample rates below that of the features, in Hz."""
    low = {int(rate): count for rate, count in rates.items() if int(rate) < sample_rate}
    num_low, num_clips = sum(low.values()), sum(rates.values())
    if 2 * num_low <= num_clips:
        return []
    most_common = max(low, key=lambda rate: low[rate])
    return [
        f"{num_low:,} of {num_clips:,} {split} recordings have a sample rate below the model's {sample_rate:,} Hz, "
        f"most often {most_common:,} Hz, so they contain no frequencies above half their rate. Scores on "
        "recordings with the full bandwidth may differ."
    ]


def _recordings(clips: pa.Table, token: str | bool | None) -> Iterator[tuple[Clip, Source]]:
    """A sample of the clips with their recordings: random ones among files, the first ones in containers."""
    here = is_file(clips)
    files = np.random.default_rng(0).permutation(np.flatnonzero(here))[:MAX_HEADERS]
    yield from ((clip, clip.path) for clip in rows_of(clips.take(pa.array(files))))
    yield from where_containers_begin(clips.filter(pa.array(~here)), token)


def _at_another_rate(recordings: Iterable[tuple[Clip, Source]], sample_rate: int) -> Iterator[tuple[Clip, Source, int]]:
    """The readable recordings at other rates, with their rate."""
    found = 0
    for clip, source in recordings:
        try:
            own = probe(source).sample_rate
        except AudioError:
            continue
        if own != sample_rate and own * sample_rate <= MAX_FILTER_SIZE * math.gcd(own, sample_rate) ** 2:
            yield clip, source, own
            found += 1
        if found == MAX_CLIPS:
            return


def _both_ways(clip: Clip, source: Source, own: int, features: FeatureDataset) -> tuple[np.ndarray, np.ndarray]:
    """The beginning of a clip at the model's rate, by soxr and by torchaudio: `[samples]`, in stereo `[2, samples]`."""
    rate = features.extractor.sampling_rate
    stereo = bool({"left", "right"} & set(features.manifest["extractor"].get("channels", ())))
    end_s = clip.start_s + MAX_S if clip.end_s is None else min(clip.end_s, clip.start_s + MAX_S)
    sound = read_audio(source, own, clip.start_s, end_s, stereo=stereo)
    return soxr.resample(sound.T, own, rate).T, resample(torch.from_numpy(sound), own, rate).numpy()


def _answer(predictor: Predictor, rate: int, sound: np.ndarray, threshold: float) -> np.ndarray:
    """The decisions `[classes]` for a whole recording at the model's rate, computed like the code in the model card."""
    scores = predictor.waveform(sound, rate).scores
    return decide(scores[None], predictor.labels, threshold)[0]

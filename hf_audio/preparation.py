"""From a corpus to a feature dataset on disk: index, split, windows, features."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from accelerate import PartialState

from hf_audio.config import DataConfig
from hf_audio.corpora import find_corpus
from hf_audio.data.audio import AudioError, probe
from hf_audio.data.feature_building import build_features
from hf_audio.data.feature_shards import WindowExtractor
from hf_audio.data.index import Clip
from hf_audio.data.labels import LabelSpace
from hf_audio.data.splits import assign_splits
from hf_audio.errors import InputError, unknown_name
from hf_audio.features.classical import ClassicalFeatures
from hf_audio.features.fbank import KaldiFbank
from hf_audio.features.waveform import Waveform

# what makes the features of each name that --features can have
EXTRACTORS: dict[str, Callable[[DataConfig], WindowExtractor]] = {
    "fbank": lambda data: KaldiFbank(num_mel_bins=data.num_mel_bins),
    "waveform": lambda data: Waveform(),
    "classical": lambda data: ClassicalFeatures(step_s=data.step_s),
}
LONGEST_DEFAULT_WINDOW_S = 5.0
NUM_PROBED_CLIPS = 500  # enough to know how long clips are

logger = logging.getLogger(__name__)


def build_corpus_features(data: DataConfig, folder: Path) -> Path:
    """Index, split, windows, features: the corpus named in `data` becomes a feature dataset in `folder`."""
    # Left alone, accelerate makes single processes of a multi-process launch on a machine without an accelerator.
    state = PartialState(cpu=not torch.accelerator.is_available())
    corpus = find_corpus(data.corpus)
    root = _recordings(corpus, data, state)
    clips = corpus.index(root)
    labels = _label_space(corpus, clips)
    clips = assign_splits(
        clips,
        labels,
        fold=data.fold,
        test_groups=data.test_groups,
        test_fraction=data.test_fraction,
        validation_fraction=data.validation_fraction,
        seed=data.split_seed,
    )
    if data.clip_s:
        clips = [_beginning(clip, data.clip_s) for clip in clips]
    window_s = data.window_s or default_window_s(clips)
    return build_features(
        clips,
        labels,
        folder,
        window_extractor(data),
        window_s=window_s,
        hop_s=data.hop_s or window_s,
        card=corpus.CARD,
        num_workers=data.num_workers,
        strict=data.strict,
        rank=state.process_index,
        world_size=state.num_processes,
        wait_for_everyone=state.wait_for_everyone,
    )


def window_extractor(data: DataConfig) -> WindowExtractor:
    """What makes the features that `data` asks for.

    Raises:
        InputError: there are no features of that name, or a setting of other features is given.
    """
    if data.features not in EXTRACTORS:
        raise unknown_name("features", data.features, EXTRACTORS)
    if data.step_s is not None and data.features != "classical":
        raise InputError(
            f"--step_s is for classical features and these are {data.features}: give --features classical, "
            "or leave it out"
        )
    return EXTRACTORS[data.features](data)


def default_window_s(clips: Sequence[Clip]) -> float:
    """The length in seconds that nine of ten training clips do not exceed, at most LONGEST_DEFAULT_WINDOW_S.

    So most short clips fit one window without much padding, and long ones are cut into several.
    """
    training = [clip for clip in clips if clip.split == "train"]
    lengths = []
    for clip in training[:: max(1, len(training) // NUM_PROBED_CLIPS)]:
        with contextlib.suppress(AudioError):
            lengths.append((clip.end_s or probe(clip.path).duration_s) - clip.start_s)
    if not lengths:
        raise InputError(
            f"None of the {len(training)} training files can be read as audio; see the formats in README.md"
        )
    window_s = min(LONGEST_DEFAULT_WINDOW_S, max(0.1, round(float(np.quantile(lengths, 0.9)), 1)))
    logger.info("Window length %.1f s, from the lengths of the training clips; set it with --window_s", window_s)
    return window_s


def _beginning(clip: Clip, clip_s: float) -> Clip:
    """The first `clip_s` seconds of a clip; all of it where it is shorter."""
    end_s = clip.start_s + clip_s
    return dataclasses.replace(clip, end_s=end_s if clip.end_s is None else min(clip.end_s, end_s))


def _recordings(corpus: ModuleType, data: DataConfig, state: PartialState) -> Path:
    """The folder with the recordings; where --data_dir is missing, one process of a machine downloads or renders it."""
    if data.data_dir:
        return Path(data.data_dir)
    if not hasattr(corpus, "obtain"):
        if data.corpus != "folder":
            corpus.index(Path("corpora") / data.corpus)  # where nothing is, its error says where to get the corpus
            return Path("corpora") / data.corpus
        raise InputError(
            "Nothing to train on: give --data_dir DIR (class folders, or a CSV with path and label), "
            "or --dataset USER/NAME for features on the Hub"
        )
    root = Path("corpora") / data.corpus
    with state.local_main_process_first():
        corpus.obtain(root)
    return root


def _label_space(corpus: ModuleType, clips: Sequence[Clip]) -> LabelSpace:
    card = corpus.CARD
    found = {label for clip in clips for label in clip.labels}
    names = [name for name in card.label_names if name in found] if card.label_names else None
    return LabelSpace.of_clips(clips, names=names, problem_type=card.problem_type)

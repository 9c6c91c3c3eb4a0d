"""Turns a corpus into a feature dataset on disk: clips with their splits, mixtures, windows, features."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from hf_audio.config import DataConfig, FeatureConfig, MixingConfig
from hf_audio.data.building.build import Ranks, build_features
from hf_audio.data.index.columns import metadata_values
from hf_audio.data.loading.computed_features import require_frames
from hf_audio.preparation.clips import CorpusClips, corpus_as_it_is, corpus_clips, require_one_corpus
from hf_audio.preparation.extractors import stored_extractor, window_extractor
from hf_audio.preparation.read_corpora import corpora_of
from hf_audio.preparation.window_lengths import default_window_s, window_length_s
from hf_audio.ranks import main_process_first, process_state, wait_for_everyone
from hf_audio.terminal import show

__all__ = [
    "build_corpus_features",
    "corpora_of",
    "corpus_as_it_is",
    "corpus_clips",
    "default_window_s",
    "require_one_corpus",
    "window_extractor",
]


def build_corpus_features(
    data: DataConfig,
    folder: Path,
    features: FeatureConfig | None = None,
    mixing: MixingConfig | None = None,
    token: str | bool | None = None,
    given: Collection[str] | None = None,
    metadata: Collection[str] = (),
    check_clips: Callable[[CorpusClips], object] | None = None,
) -> Path:
    """Builds a feature dataset in `folder` from the corpus in `data`; by default, with 128 log-mel bins.

    First it prints one paragraph about how a folder, table or dataset was read. `token` is for datasets on the Hub.
    `given` are the names of the settings that a user gave, which must have an effect; None: settings that differ from
    their defaults. `metadata` names the metadata of clips that a model will need. `check_clips` raises an error for
    clips and classes that the model cannot be trained on.

    Raises:
        InputError: from the corpus, the split, mixing or building.
    """
    state = process_state()
    features = features or FeatureConfig()
    extractor = stored_extractor(features)
    with main_process_first(state):  # one process downloads or renders a missing corpus
        prepared = corpus_clips(
            data,
            mixing,
            sample_rate=extractor.parameters["sampling_rate"],
            token=token,
            given=given,
            tell=show if state.is_main_process else None,
        )
    metadata_values(prepared.clips, metadata)  # fails now, not after features are built
    if check_clips is not None:
        check_clips(prepared)
    window_s = window_length_s(prepared.clips, features.window_s, token)
    if features.features_on_device:
        require_frames(window_extractor(features), window_s)
    return build_features(
        prepared.clips,
        prepared.labels,
        folder,
        extractor,
        window_s=window_s,
        hop_s=features.hop_s or window_s,
        card=prepared.card,
        num_workers=data.num_workers,
        strict=data.strict,
        ranks=Ranks(state.process_index, state.num_processes, wait_for_everyone),
        token=token,
    )

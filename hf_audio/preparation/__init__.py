"""From a corpus to a feature dataset on disk: clips with their splits, mixtures, windows, features."""

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
    """The corpus named in `data` becomes a feature dataset in `folder`; without `features`, of 128 log-mel bins.

    How a folder, table or dataset was read is printed first, in one paragraph. `token` is for datasets on the Hub;
    `given` names the settings that a user gave, which must do something; None those that are not their defaults.
    `metadata` names what a model will want to know of the clips beside their sound; `check_clips` refuses clips and
    classes that it cannot be trained on.

    Raises:
        InputError: as the corpus, the split, mixing and building do.
    """
    state = process_state()
    features = features or FeatureConfig()
    extractor = stored_extractor(features)
    with main_process_first(state):  # a corpus that is not there is downloaded or rendered by one process
        prepared = corpus_clips(
            data,
            mixing,
            sample_rate=extractor.parameters["sampling_rate"],
            token=token,
            given=given,
            tell=show if state.is_main_process else None,
        )
    metadata_values(prepared.clips, metadata)  # said now, not when the features are there
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

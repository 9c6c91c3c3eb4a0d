"""hf_audio: from recordings to a published audio classifier with the Hugging Face stack.

    corpus files → index → leak-free split → windows → log-mel features → Arrow shards → model → report → Hub

The public names below load on first use, so that `import hf_audio` costs nothing.
"""

from __future__ import annotations

import contextlib
import importlib

__version__ = "0.1.0"

_HOME_OF = {
    "InputError": "errors",
    "clear_errors": "errors",
    "DataConfig": "config",
    "FeatureConfig": "config",
    "MixingConfig": "config",
    "CorpusConfig": "config",
    "ShareConfig": "config",
    "make_recipe": "parsing",
    "parse_recipe": "parsing",
    "parse_settings": "parsing",
    "run_network": "workflows",
    "run_classical": "workflows",
    "run_pretraining": "workflows",
    # the stages of a recipe
    "prepare_features": "stages",
    "prepare_model": "stages",
    "train_model": "stages",
    "train_classical": "stages",
    "evaluate_run": "stages",
    "publish_run": "stages",
    "pretrain_model": "stages",
    "publish_pretrained": "stages",
    # what they call
    "Clip": "data.index.table",
    "LabelSpace": "data.index.labels",
    "assign_splits": "data.splits.assigning",
    "FeatureDataset": "data.loading.features_dataset",
    "KaldiFbank": "kinds._kaldi_fbank",
    "Spectrogram": "kinds._spectrogram_settings",
    "Waveform": "kinds.waveform",
    "ClassicalFeatures": "kinds.classical",
    "ClassicalFeatureExtractor": "extractors.classical",
    "SpectrogramFeatureExtractor": "extractors.spectrogram",
    "FbankFeatureExtractor": "extractors.fbank",
    "FeatureCollator": "data.loading.feature_collator",
    "features_to_csv": "data.loading.feature_table",
    "audit_clips": "audit.findings",
    "audit_corpus": "audit.page",
    "build_corpus_features": "preparation",
    "corpus_clips": "preparation",
    "window_extractor": "preparation",
    "build_features": "data.building.build",
    "mix_clips": "data.index.mixtures",
    "write_mixtures": "data.recordings.mixing",
    "load_features": "data.loading.features_dataset",
    "build_model": "models",
    "AudioTrainer": "training",
    "train_pipeline": "classical_models",
    "Classification": "training",
    "PatchDropout": "training",
    "Pretraining": "training",
    "Predictor": "predictor",
    "load": "tagging.loading",
    "player": "tagging.notebook",
    "explain": "explaining.explain_sound",
    "evaluate": "judging.evaluating",
    "pretraining_model": "models.spectrogram_pretraining",
    "share_of_training": "data.loading.training_share",
    "read_clip_labels": "data.loading.clip_labels",
    "label_agreement": "label_quality.agreement",
    "find_label_errors": "label_quality.errors",
    "write_label_errors": "label_quality.page",
    "subdivide_label": "label_quality.clusters",
    "compare_overrides": "label_quality.override_comparison",
    "evaluate_model": "analysis.evaluation",
    "leak_report": "leakage.report",
    "read_report": "analysis.report",
    "clip_table": "analysis.clip_table",
    "draw_features": "analysis.data_figures",
    "plot_windows": "analysis.data_figures",
    "write_embedding_map": "label_quality.embedding_map",
    "augmentation_for": "augment",
    "write_dataset_card": "publishing.dataset_card",
    "write_model_card": "publishing.model_card",
    "push_features": "publishing.push",
    "push_model": "publishing.push",
    "share_corpus": "publishing.corpus",
    "share_recordings": "publishing.recordings",
}
__all__ = sorted(_HOME_OF)


def __getattr__(name: str):
    if name not in _HOME_OF:
        raise AttributeError(f"module 'hf_audio' has no attribute {name!r}")
    from hf_audio.environment import quick_imports

    with quick_imports():
        if _HOME_OF[name] != "errors":
            _require_working_torchaudio(name)
        return getattr(importlib.import_module(f"hf_audio.{_HOME_OF[name]}"), name)


def _require_working_torchaudio(name: str) -> None:
    from hf_audio.environment import require_working_torchaudio
    from hf_audio.errors import clear_errors

    # A recipe touches nothing but its flow, whose import already needs torchaudio.
    with clear_errors() if _HOME_OF[name] == "workflows" else contextlib.nullcontext():
        require_working_torchaudio()


def __dir__() -> list[str]:
    return [*globals(), *__all__]

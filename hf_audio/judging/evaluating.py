"""Evaluation from Python in one call, with models and data by name and results as tables."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hf_audio.config import DataConfig
from hf_audio.errors import InputError, unknown_name
from hf_audio.judging.evaluation_data import EvaluationData, features_data, is_features, recordings_data
from hf_audio.judging.evaluation_request import EvaluationRequest
from hf_audio.judging.evaluation_run import Evaluation, evaluate_models
from hf_audio.terminal import show

OF_RECORDINGS = ("window_s", "hop_s", "num_threads")
OF_MODELS = ("label_map", "protocol", "allow_training_data", *OF_RECORDINGS)
OF_COMPUTING = ("device", "bf16", "batch_size", "token", "revision")
OF_JUDGING = (
    *("aggregation", "thresholds", "metric", "num_draws", "confidence", "seed"),
    *("ensemble", "risk", "coverage"),
)


def evaluate(
    models: str | Path | Sequence[str | Path],
    data: str | Path | DataConfig,
    *,
    split: str | None = None,
    **settings: Any,
) -> Evaluation:
    """Evaluates one or several models on any data whose classes can be mapped to theirs.

        hf_audio.evaluate("runs/mine", "runs/mine/features")
        hf_audio.evaluate(["runs/a", "someone/ast-irmas"], hf_audio.DataConfig(data_dir="recordings"), split="test")

    Args:
        models: run folders, or audio classifiers on the Hub.
        data: a feature dataset, or recordings: a folder, a dataset on the Hub, or a DataConfig with further settings.
        split: by default test, or the only split.
        settings: the flags of `hf-audio evaluate`: label_map, protocol, allow_training_data; window_s, hop_s and
            num_threads for recordings; device, bf16, batch_size, token, revision; aggregation, thresholds, metric,
            num_draws, confidence, seed, ensemble, risk, coverage.

    Raises:
        InputError: no such model, data, split or setting; data that a model was trained on; a setting that would have
            no effect.
    """
    known = (*OF_MODELS, *OF_COMPUTING, *OF_JUDGING)
    for name in settings:
        if name not in known:
            raise unknown_name("setting of evaluate", name, known)
    chosen = _data(data, settings).chosen(split)
    names = [models] if isinstance(models, str | os.PathLike) else list(models)
    if settings.get("revision") and len(names) > 1:
        raise InputError(f"revision applies to one model, but {len(names)} were given: evaluate that model alone")
    of_models, computing, judging = (
        {name: settings[name] for name in group if name in settings} for group in (OF_MODELS, OF_COMPUTING, OF_JUDGING)
    )
    return evaluate_models(
        [os.fspath(one) for one in names], chosen, EvaluationRequest(**of_models), computing, **judging
    )


def _data(data: str | Path | DataConfig, settings: dict[str, Any]) -> EvaluationData:
    config = data if isinstance(data, DataConfig) else DataConfig(dataset=os.fspath(data))
    token = settings.get("token")
    if not is_features(config, token):
        return recordings_data(config, token=token, tell=show)
    for name in OF_RECORDINGS:
        if settings.get(name) is not None:
            raise InputError(
                f"{name} would have no effect here: it is for recordings, but the data are features; leave it out"
            )
    return features_data(config.dataset, token=token, revision=config.dataset_revision)

"""A trained classifier saved with calibrated scores: anyone who loads it gets them, the stock pipeline too.

    facts = calibrate_model("runs/cnn_folder", validation, "temperature", "runs/cnn_calibrated", fitted_on="validation")

It goes to a folder of its own, for report and scores of the run are about the model as it was. Temperature and vector
scaling become part of the head's weights, in stock classes too; isotonic scaling needs a class of ours. The model's
config.json says under `calibration` what was fitted, and where several labels may apply the threshold of its decisions
moves along.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file, save

from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.loading.training_digests import TRAINING_DATA, read_training_data
from hf_audio.errors import InputError, unknown_name
from hf_audio.files import MAX_TABLE_BYTES, read_json, read_whole, write_atomically, write_json
from hf_audio.judging.calibration import calibration_facts
from hf_audio.judging.judged_clips import JudgedClips
from hf_audio.judging.scaling import SCALINGS, Scaling, fit_scaling
from hf_audio.metrics import choose_threshold, mean_of_clips
from hf_audio.models.checkpoint_card import facts_in_card
from hf_audio.models.foreign_checkpoint import Checkpoint, is_of_head
from hf_audio.models.saving import save_extractor, save_model
from hf_audio.models.scaled_head import add_curves, require_scalable, scale_head
from hf_audio.models.usage import write_usage
from hf_audio.predictor import Predictor
from hf_audio.privacy import public_name, public_value
from hf_audio.publishing.calibrated_card import write_calibrated_card
from hf_audio.terminal import named_logger

ADAPTER, ADAPTER_WEIGHTS = "adapter", "adapter_model.safetensors"
OF_PEFT = "base_model.model."  # in front of the names of weights in an adapter's file
ENOUGH_CLIPS = 1000  # for isotonic regression, by scikit-learn's user guide
TOLERANCE = 1e-3  # of logits that are computed in float32 twice

logger = named_logger(__name__)


def calibrate_model(
    name: str,
    validation: JudgedClips,
    kind: str,
    folder: str | Path,
    *,
    fitted_on: str,
    token: str | None = None,
    revision: str | None = None,
) -> dict[str, Any]:
    """Fits a scaling on validation clips and saves the model with it, whole or not at all.

    A run folder's LoRA adapter is saved beside it, with the scaled head.

    Args:
        name: a run folder or a repository on the Hub.
        validation: what this very model says of the validation clips, of all of its classes.
        kind: in SCALINGS.
        folder: where it is saved; new, or empty.
        fitted_on: what the clips are, for card and config.json, such as "the validation split of irmas".
        token: for a private repository.
        revision: a branch, tag or commit of the repository.

    Returns:
        source, scaling (as config.json says it), before and after (`calibration_facts` of these clips), threshold and
        old_threshold (None where one class applies), and decisions_changed, the share of these clips.

    Raises:
        InputError: a folder that holds something, a model that cannot take the scaling up, clips of other classes, or
            clips that no scaling can be fitted on.
    """
    if (Path(name) / "model.skops").is_file():
        raise InputError(f"{name} is a classical model, which was already calibrated in training: give a network")
    predictor = Predictor.load(name, token=token, revision=revision, device="cpu")
    has_adapter = (Path(name) / ADAPTER / ADAPTER_WEIGHTS).is_file()
    folder = check_calibration(predictor, kind, folder)
    _require_same_by_window(kind, validation, has_adapter)
    order = places_of_classes(predictor, validation.labels)
    logits = mean_of_clips(validation.window_logits, validation.clip_of_window, len(validation))[:, order]
    targets, labels = validation.targets[:, order], predictor.labels
    scaling = fit_scaling(kind, logits, targets, labels)
    _scale(predictor, scaling)
    if kind == "isotonic" and scaling.num_clips < ENOUGH_CLIPS:
        logger.warning(
            "Isotonic scaling was fitted on only %s clips and may make calibration worse: use temperature below "
            "about %s clips",
            f"{scaling.num_clips:,}",
            f"{ENOUGH_CLIPS:,}",
        )
    record = {**scaling.facts(), "fitted_on": public_value(fitted_on)}
    checkpoint = Checkpoint(name, token, predictor.commit)
    earlier = _earlier(checkpoint)
    if earlier:
        logger.warning("%s was already calibrated (%s): its scores are scaled once more", name, ", ".join(earlier))
        record["calibrated_before"] = earlier
    facts = {
        "source": public_name(name),
        "scaling": record,
        "before": calibration_facts(labels.probabilities(logits), targets, labels),
        "after": calibration_facts(scaling.probabilities(logits), targets, labels),
        **_decisions(predictor, scaling, logits, targets),
    }
    _save(predictor, checkpoint, facts, folder, Path(name) / ADAPTER if has_adapter else None)
    return facts


def check_calibration(predictor: Predictor, kind: str, folder: str | Path) -> Path:
    """Finds before clips are scored whether a model can be saved with a kind of scaling, and there.

    Returns:
        The folder.

    Raises:
        InputError: an unknown kind, a model that cannot take it up, or a folder that holds something.
    """
    if kind not in SCALINGS:
        raise unknown_name("scaling", kind, SCALINGS)
    if predictor.untrained:
        raise InputError(f"{predictor.name} has no trained classifier (no {predictor.untrained[0]} among its weights)")
    require_scalable(predictor.model, per_class=kind == "vector", curves=kind == "isotonic")
    folder = Path(os.path.abspath(folder))
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise InputError(
            f"{folder} already exists: a calibrated model is saved into a folder of its own, since report.json and "
            "scores/ of a run are about the model as it was; give a new one"
        )
    return folder


def places_of_classes(predictor: Predictor, found: LabelSpace) -> list[int]:
    """The places of the model's classes among those of validation clips.

    Raises:
        InputError: the clips have other classes, or not all.
    """
    own = predictor.labels
    if set(own.names) != set(found.names) or own.problem_type != found.problem_type:
        raise InputError(
            f"{predictor.name} has {len(own)} classes ({'several' if own.is_multi_label else 'one'} at a time) and the "
            f"validation clips {len(found)} ({'several' if found.is_multi_label else 'one'}): a calibration that is "
            "saved with a model is fitted on all of its classes, so leave out the map of classes"
        )
    return [found.label2id[name] for name in own.names]


def _require_same_by_window(kind: str, validation: JudgedClips, has_adapter: bool) -> None:
    """Raises InputError where curves would not be what was fitted once they are in the model."""
    if kind != "isotonic":
        return
    num_windows = np.bincount(validation.clip_of_window).max(initial=1)
    if num_windows > 1:
        raise InputError(
            f"Isotonic scaling is fitted on the mean logits of clips of up to {num_windows:,} windows, and a model "
            "would apply it to each window before the mean, which is another thing: save temperature or vector, for "
            "which both are the same"
        )
    if has_adapter:
        raise InputError("A LoRA adapter has no place for isotonic scaling: save temperature or vector, or remove it")


def _scale(predictor: Predictor, scaling: Scaling) -> None:
    """Puts the scaling into the model, and sees that its answers are scaled by it and by nothing else."""
    rate = predictor.sample_rate
    noise = 0.1 * np.random.default_rng(0).standard_normal(round(rate * (predictor.usage.window_s or 1.0)))
    inputs = predictor.inputs([noise.astype(np.float32)])
    wanted = scaling.logits(predictor.logits(inputs))
    scale_head(predictor.model, scaling.slopes, scaling.biases)
    if scaling.curves is not None:
        add_curves(predictor.model, scaling.curves.knots, scaling.curves.values)
    found = predictor.logits(inputs)
    if not np.allclose(found, wanted, rtol=TOLERANCE, atol=TOLERANCE):
        raise InputError(
            f"{predictor.name} is a {type(predictor.model).__name__} whose output is not that of its head, so no "
            "calibration can be saved with it"
        )


def _earlier(checkpoint: Checkpoint) -> list[str]:
    """The kinds of scaling that its config.json, which may be untrusted, says it has had; "unknown" of others."""
    found = checkpoint.settings.get("calibration")
    if not found:
        return []
    found = found if isinstance(found, dict) else {}
    before = found.get("calibrated_before")
    kinds = [*(before[:8] if isinstance(before, list) else []), found.get("kind")]
    return [one if one in SCALINGS else "unknown" for one in kinds]


def _decisions(predictor: Predictor, scaling: Scaling, logits: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
    """The threshold before and after, and the share of clips that are answered otherwise."""
    labels, new = scaling.labels, scaling.probabilities(logits)
    old = labels.probabilities(logits)
    if not labels.is_multi_label:
        changed = old.argmax(axis=1) != new.argmax(axis=1)
        return {"threshold": None, "old_threshold": None, "decisions_changed": float(changed.mean())}
    before = predictor.decision_threshold
    by_temperature = scaling.kind == "temperature"
    after = float(scaling.thresholds(before)[0]) if by_temperature else choose_threshold(new, targets)
    changed = ((old >= before) != (new >= after)).any(axis=1)
    return {"threshold": after, "old_threshold": before, "decisions_changed": float(changed.mean())}


def _save(
    predictor: Predictor, checkpoint: Checkpoint, facts: dict[str, Any], folder: Path, adapter: Path | None
) -> None:
    """Writes everything into a folder beside, which then gets the name."""
    unfinished = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(unfinished, ignore_errors=True)  # of a process that was killed
    work = unfinished / folder.name  # the card calls the model by the last name
    work.mkdir(parents=True)
    try:
        save_model(predictor.model, work)
        save_extractor(predictor.extractor, work)
        write_usage(work, predictor.usage._replace(decision_threshold=facts["threshold"]))
        config = read_json(work / "config.json")
        write_json(work / "config.json", {**config, "calibration": facts["scaling"]})
        if adapter is not None:
            _save_adapter(predictor, adapter, work / ADAPTER)
        _save_training_data(checkpoint, work)
        rule = predictor.windows if predictor.usage.window_s else None
        write_calibrated_card(work, facts, facts_in_card(checkpoint), rule)
        if folder.exists():
            folder.rmdir()  # it is empty
        os.replace(work, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _save_training_data(checkpoint: Checkpoint, folder: Path) -> None:
    """The digests of what it was trained on go along, so that it is not judged on that either."""
    path = checkpoint.path(TRAINING_DATA, optional=True)
    if path is not None:
        read_training_data(path)
        write_atomically(folder / TRAINING_DATA, read_whole(path, MAX_TABLE_BYTES))


def _save_adapter(predictor: Predictor, source: Path, folder: Path) -> None:
    """The adapter of a run folder, whose head is that of the merged model."""
    tensors, state = load_file(source / ADAPTER_WEIGHTS), predictor.model.state_dict()
    for name, weights in state.items():
        if is_of_head(name) and f"{OF_PEFT}{name}" in tensors:
            tensors[f"{OF_PEFT}{name}"] = weights.contiguous()
        elif is_of_head(name):
            raise InputError(f"The adapter in {source} does not hold {name} of the head: remove it and try again")
    folder.mkdir()
    write_atomically(folder / ADAPTER_WEIGHTS, save(tensors, metadata={"format": "pt"}))
    for name in ("adapter_config.json", "README.md"):
        if (source / name).is_file() and not (source / name).is_symlink():
            shutil.copyfile(source / name, folder / name)

"""A trained classifier saved with calibrated scores, which the stock pipeline returns too.

    facts = calibrate_model("runs/cnn_folder", validation, "temperature", "runs/cnn_calibrated", fitted_on="validation")

The model is saved in a new folder, because the report and scores of the run describe the uncalibrated model.
Temperature and vector scaling are merged into the head's weights, in stock model classes too; isotonic scaling needs
one of our model classes. `calibration` in config.json holds the fitted scaling. In multi-label models the decision
threshold is adjusted to match.
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
OF_PEFT = "base_model.model."  # prefix of the weight names in an adapter's file
ENOUGH_CLIPS = 1000  # for isotonic regression, according to scikit-learn's user guide
TOLERANCE = 1e-3  # between float32 logits computed in two ways

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
    """Fits a scaling on validation clips and saves the model with it, completely or not at all.

    The LoRA adapter of a run folder is saved too, with the scaled head.

    Args:
        name: a run folder or a repository on the Hub.
        validation: the same model's scores for the validation clips, over all of its classes.
        kind: one of SCALINGS.
        folder: where to save the model; new or empty.
        fitted_on: a description of the clips for card and config.json, such as "the validation split of irmas".
        token: for a private repository.
        revision: a branch, tag or commit of the repository.

    Returns:
        source, scaling (as in config.json), before and after (`calibration_facts` of these clips), threshold and
        old_threshold (None for single-label models), and decisions_changed, as a share of these clips.

    Raises:
        InputError: a folder that is not empty, a model that cannot hold the scaling, clips of other classes, or clips
            that no scaling can be fitted on.
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
    checkpoint = Checkpoint(name, token, predictor.commit)
    facts = {
        "source": public_name(name),
        "scaling": _record(scaling, checkpoint, fitted_on),
        "before": calibration_facts(labels.probabilities(logits), targets, labels),
        "after": calibration_facts(scaling.probabilities(logits), targets, labels),
        **_decisions(predictor, scaling, logits, targets),
    }
    _save(predictor, checkpoint, facts, folder, Path(name) / ADAPTER if has_adapter else None)
    return facts


def _record(scaling: Scaling, checkpoint: Checkpoint, fitted_on: str) -> dict[str, Any]:
    """The scaling as config.json records it. Warns about few clips and about an earlier scaling."""
    record = {**scaling.facts(), "fitted_on": public_value(fitted_on)}
    if scaling.kind == "isotonic" and scaling.num_clips < ENOUGH_CLIPS:
        logger.warning(
            "Isotonic scaling was fitted on only %s clips and may make calibration worse: use temperature below "
            "about %s clips",
            f"{scaling.num_clips:,}",
            f"{ENOUGH_CLIPS:,}",
        )
    earlier = _earlier(checkpoint)
    if earlier:
        logger.warning(
            "%s was already calibrated (%s): its scores are now scaled again", checkpoint.name, ", ".join(earlier)
        )
        record["calibrated_before"] = earlier
    return record


def check_calibration(predictor: Predictor, kind: str, folder: str | Path) -> Path:
    """Checks that a model can be saved with a kind of scaling in a folder, before clips are scored.

    Returns:
        The folder, as an absolute path.

    Raises:
        InputError: an unknown kind, a model that cannot hold it, or a folder that is not empty.
    """
    if kind not in SCALINGS:
        raise unknown_name("scaling", kind, SCALINGS)
    if predictor.untrained:
        raise InputError(f"{predictor.name} has no trained classifier (no {predictor.untrained[0]} among its weights)")
    require_scalable(predictor.model, per_class=kind == "vector", curves=kind == "isotonic")
    folder = Path(os.path.abspath(folder))
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise InputError(
            f"{folder} already exists: a calibrated model needs a new folder, since the report.json and scores/ of a "
            "run describe the uncalibrated model; give another one"
        )
    return folder


def places_of_classes(predictor: Predictor, found: LabelSpace) -> list[int]:
    """The positions of the model's classes among those of the validation clips.

    Raises:
        InputError: the clips have other classes, or lack some.
    """
    own = predictor.labels
    if set(own.names) != set(found.names) or own.problem_type != found.problem_type:
        raise InputError(
            f"{predictor.name} has {len(own)} classes ({_task(own)}) and the validation clips {len(found)} "
            f"({_task(found)}): a calibration that is saved with a model is fitted on all of its classes, so leave out "
            "the label map"
        )
    return [found.label2id[name] for name in own.names]


def _task(labels: LabelSpace) -> str:
    return "multi-label" if labels.is_multi_label else "single-label"


def _require_same_by_window(kind: str, validation: JudgedClips, has_adapter: bool) -> None:
    """Raises InputError if curves inside the model would have another effect than the fitted ones."""
    if kind != "isotonic":
        return
    num_windows = np.bincount(validation.clip_of_window).max(initial=1)
    if num_windows > 1:
        raise InputError(
            f"Isotonic scaling was fitted on the mean logits of clips with up to {num_windows:,} windows, but a model "
            "would apply it to each window before the mean, which gives other scores: save temperature or vector, "
            "where the order makes no difference"
        )
    if has_adapter:
        raise InputError(
            "A LoRA adapter cannot hold isotonic scaling: use temperature or vector, or remove the adapter"
        )


def _scale(predictor: Predictor, scaling: Scaling) -> None:
    """Adds the scaling to the model, and checks on noise that its logits change as expected."""
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
            f"{predictor.name} is a {type(predictor.model).__name__} that changes the output of its head, so no "
            "calibration can be saved with it"
        )


def _earlier(checkpoint: Checkpoint) -> list[str]:
    """The earlier scalings according to config.json, which may be untrusted; "unknown" for kinds not in SCALINGS."""
    found = checkpoint.settings.get("calibration")
    if not found:
        return []
    found = found if isinstance(found, dict) else {}
    before = found.get("calibrated_before")
    kinds = [*(before[:8] if isinstance(before, list) else []), found.get("kind")]
    return [one if one in SCALINGS else "unknown" for one in kinds]


def _decisions(predictor: Predictor, scaling: Scaling, logits: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
    """The threshold before and after, and the share of clips whose prediction changes."""
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
    """Writes everything into a temporary folder, which is then renamed."""
    unfinished = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(unfinished, ignore_errors=True)  # left by a process that was killed
    work = unfinished / folder.name  # the card takes the model's name from the folder
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
    """Copies the digests of the training data, so that evaluation on them is refused for this model too."""
    path = checkpoint.path(TRAINING_DATA, optional=True)
    if path is not None:
        read_training_data(path)
        write_atomically(folder / TRAINING_DATA, read_whole(path, MAX_TABLE_BYTES))


def _save_adapter(predictor: Predictor, source: Path, folder: Path) -> None:
    """Saves the adapter of a run folder with the head of the merged model."""
    tensors, state = load_file(source / ADAPTER_WEIGHTS), predictor.model.state_dict()
    for name, weights in state.items():
        if is_of_head(name) and f"{OF_PEFT}{name}" in tensors:
            tensors[f"{OF_PEFT}{name}"] = weights.contiguous()
        elif is_of_head(name):
            raise InputError(f"The adapter in {source} lacks {name} of the head: remove the adapter and try again")
    folder.mkdir()
    write_atomically(folder / ADAPTER_WEIGHTS, save(tensors, metadata={"format": "pt"}))
    for name in ("adapter_config.json", "README.md"):
        if (source / name).is_file() and not (source / name).is_symlink():
            shutil.copyfile(source / name, folder / name)

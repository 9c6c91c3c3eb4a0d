"""One evaluation from its beginning to its report: models are asked, and what they say is judged."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hf_audio.data.index.columns import names_in
from hf_audio.data.index.labels import LabelSpace
from hf_audio.errors import InputError
from hf_audio.judging.calibrated_models import calibrate_model, check_calibration
from hf_audio.judging.card import write_card
from hf_audio.judging.class_mapping import GivenMap, read_given_map
from hf_audio.judging.evaluation_data import VALIDATION, EvaluationData
from hf_audio.judging.evaluation_report import judged_report, recordings_of, said_of
from hf_audio.judging.intervals import check_draws
from hf_audio.judging.judged_clips import JudgedClips
from hf_audio.judging.playing import Recording
from hf_audio.judging.protocols import protocol_named, require_protocol
from hf_audio.judging.report import known_metric, ready_for_json
from hf_audio.judging.scoring import ScoredModel, load_model, score
from hf_audio.judging.several_models import in_common, unique_names
from hf_audio.judging.stored_judgments import read_judged
from hf_audio.judging.training_data import check_training_data, training_overlap
from hf_audio.judging.unknown_sounds import score_unknown, without_known
from hf_audio.judging.worse_recordings import robustness_of
from hf_audio.models.foreign_checkpoint import Checkpoint
from hf_audio.predictor import Predictor


@dataclass(frozen=True)
class Asked:
    """What is asked of models beside their scores.

    Attributes:
        label_map: file, see `class_mapping`.
        protocol: its name.
        allow_training_data: evaluate on what a model was trained on, and say so.
        window_s, hop_s, num_threads: of recordings, see `score`.
        unknown: sounds of none of the classes.
        robustness: degradations, none for all; None does without.
        robustness_clips: about so many are heard in worse states.
        calibrate: kind of scaling that the model, which is the only one, is saved with in `calibrated_model`.
    """

    label_map: str | None = None
    protocol: str | None = None
    allow_training_data: bool = False
    window_s: float | None = None
    hop_s: float | None = None
    num_threads: int | None = None
    unknown: EvaluationData | None = None
    robustness: Sequence[str] | None = None
    robustness_clips: int = 100
    calibrate: str | None = None
    calibrated_model: str = ""


@dataclass(frozen=True)
class Evaluation:
    """What was found.

    Attributes:
        report: see `judge`, and what else was asked.
        models: what each says.
        split: that was evaluated.
        places: of each model, by its name, its folder or name on the Hub.
        recordings: where clips can be heard on this machine, by their ids.
    """

    report: dict[str, Any]
    models: list[ScoredModel]
    split: str
    places: dict[str, str] = field(default_factory=dict)
    recordings: dict[str, Recording] = field(default_factory=dict)

    def as_json(self) -> str:
        """The report as a text."""
        return json.dumps(self.report, indent=1, allow_nan=False, ensure_ascii=False) + "\n"

    def write_cards(self, token: str | None = None) -> list[str]:
        """Puts the results into the models' cards; where these are."""
        return [write_card(place, self.report, name, token=token) for name, place in self.places.items()]


def evaluate_models(
    models: Sequence[str], data: EvaluationData, asked: Asked, options: Mapping[str, Any], **judging: Any
) -> Evaluation:
    """Asks models of folders or the Hub about data, and judges what they say.

    Args:
        models: run folders, or names on the Hub.
        data: of one split, see `EvaluationData.chosen`.
        options: of `load_model`: token, revision, device ...
        judging: of `judge`, and `ensemble`: see `judged_report`.

    Raises:
        InputError: see `score`, `judge` and their kin.
    """
    _check(data.name, data.splits, data.split, data.labels, asked, judging)
    if asked.robustness is not None and data.features is not None:
        raise InputError(f"--robustness is for recordings, and {data.name} holds features: leave it out")
    names, token = unique_names(models), options.get("token")
    protocol = protocol_named(asked.protocol) if asked.protocol else None
    if protocol:
        require_protocol(protocol, data, data.labels, len(data.evaluated))
    predictors = {name: load_model(model, name, **options) for model, name in names.items()}
    places = {name: model for model, name in names.items()}
    for predictor in predictors.values() if asked.calibrate else ():
        check_calibration(predictor, asked.calibrate, asked.calibrated_model)
    known = _known_of_training(predictors, places, data, asked.allow_training_data, token)
    maps = read_given_map(asked.label_map, data.labels, _labels(predictors)) if asked.label_map else {}
    scored = _scored(predictors, data, asked, maps, known, token)
    if protocol:
        judged = scored[0].judged  # of which classes and clips may have been left out
        require_protocol(protocol, data, judged.labels, len(judged.of_split(data.split)))
        judging |= {"protocol": protocol.facts(), "aggregation": protocol.aggregation, "metric": protocol.metric}
    unknown, told = _unknown(predictors, scored, asked, token)
    notes = [*dict.fromkeys(told for one in scored for told in one.told), *told]
    report = judged_report(scored, data.split, said_of(data), notes, unknown=unknown, **judging)
    _add_robustness(report, predictors, scored, data, asked, token)
    _add_calibration(report, scored, places, data, asked, options)
    return Evaluation(report, scored, data.split, places, recordings_of(data))


def evaluate_stored(folders: Sequence[str], split: str | None, **judging: Any) -> Evaluation:
    """Judges stored scores, of runs or of an evaluation, without their models.

    Args:
        split: that is evaluated; by default the one that they were made for.

    Raises:
        InputError: see `read_judged` and `judge`.
    """
    names = unique_names(folders)
    found = [read_judged(folder, name) for folder, name in names.items()]
    splits = {its for _, its in found}
    if split is None and len(splits) > 1:
        raise InputError(f"The scores were made for the splits {', '.join(sorted(splits))}: give one as --split")
    split = split or splits.pop()
    scored = in_common([one for one, _ in found])
    judged = scored[0].judged
    _check("what is stored", names_in(judged.clips["split"]), split, judged.labels, Asked(), judging)
    notes = list(dict.fromkeys(told for one in scored for told in one.told))
    report = judged_report(scored, split, {"name": "stored scores"}, notes, **judging)
    return Evaluation(report, scored, split)


def _check(
    name: str, splits: Collection[str], split: str, labels: LabelSpace, asked: Asked, judging: Mapping[str, Any]
) -> None:
    """Refuses what cannot be judged before any model is asked, which may take hours.

    Args:
        name: of the data.
        splits: that they have; `split` is evaluated.
    """
    check_draws(judging.get("num_draws", 1000), judging.get("confidence", 0.95))
    known_metric(judging.get("metric"), labels)
    fitted = {name: judging.get(name) for name in ("risk", "coverage")} | {"calibrate": asked.calibrate}
    fitted |= {
        f"{name} {one}": True
        for name, one in (("ensemble", VALIDATION), ("thresholds", "per_class"))
        if judging.get(name) == one
    }
    for flag, value in fitted.items():
        if value is not None and (VALIDATION not in splits or split == VALIDATION):
            raise InputError(
                f"--{flag} is fitted on a validation split that is not evaluated itself, and {name} has none: leave it "
                "out, or give data that have one"
            )


def _scored(
    predictors: Mapping[str, Predictor],
    data: EvaluationData,
    asked: Asked,
    maps: Mapping[str, GivenMap],
    known: Mapping[str, tuple[str, ...]],
    token: str | None,
) -> list[ScoredModel]:
    """What the models say, by the clips and classes that all of them have."""
    found = []
    for name, predictor in predictors.items():
        one = score(predictor, data, given=maps.get(name), **_hearing(asked, token))
        found.append(one._replace(told=(*known[name], *one.told)))
    return in_common(found)


def _hearing(asked: Asked, token: str | None) -> dict[str, Any]:
    return {"window_s": asked.window_s, "hop_s": asked.hop_s, "num_threads": asked.num_threads, "token": token}


def _labels(predictors: Mapping[str, Predictor]) -> dict[str, Any]:
    return {name: predictor.labels for name, predictor in predictors.items()}


def _known_of_training(
    predictors: Mapping[str, Predictor],
    places: Mapping[str, str],
    data: EvaluationData,
    allow: bool,
    token: str | None,
) -> dict[str, tuple[str, ...]]:
    """What must be told of each model's training data; refuses models that know the data."""
    known, overlaps = {}, False
    for name, predictor in predictors.items():
        found = training_overlap(name, Checkpoint(places[name], token, predictor.commit), data)
        known[name] = check_training_data(found, name, data, allow=allow)
        overlaps |= bool(found.refusal)
    if allow and not overlaps:
        raise InputError(
            "--allow_training_data would do nothing here: nothing says that a model was trained on these clips; leave "
            "it out"
        )
    return known


def _unknown(
    predictors: Mapping[str, Predictor], scored: Sequence[ScoredModel], asked: Asked, token: str | None
) -> tuple[dict[str, JudgedClips], list[str]]:
    """What each model says of sounds of none of the classes, and what of these was left out."""
    if asked.unknown is None:
        return {}, []
    data, told = without_known(asked.unknown, scored[0].judged.labels.names)
    hearing = _hearing(asked, token) if data.features is None else {}
    return {one.judged.name: score_unknown(predictors[one.judged.name], one, data, **hearing) for one in scored}, told


def _add_robustness(
    report: dict[str, Any],
    predictors: Mapping[str, Predictor],
    scored: Sequence[ScoredModel],
    data: EvaluationData,
    asked: Asked,
    token: str | None,
) -> None:
    if asked.robustness is None:
        return
    settings = report["settings"]
    for one in scored:
        facts = report["models"][one.judged.name]
        found = robustness_of(
            predictors[one.judged.name],
            one,
            data,
            facts["thresholds"],
            asked=asked.robustness,
            aggregation=settings["aggregation"],
            num_clips=asked.robustness_clips,
            num_draws=settings["num_draws"],
            seed=settings["seed"],
            token=token,
        )
        facts["robustness"] = ready_for_json(found)


def _add_calibration(
    report: dict[str, Any],
    scored: Sequence[ScoredModel],
    places: Mapping[str, str],
    data: EvaluationData,
    asked: Asked,
    options: Mapping[str, Any],
) -> None:
    """Saves the model with a scaling that is fitted on validation."""
    if asked.calibrate is None:
        return
    for one in scored:
        validation = one.judged.of_split(VALIDATION)
        found = calibrate_model(
            places[one.judged.name],
            validation,
            asked.calibrate,
            asked.calibrated_model,
            fitted_on=f"the validation split of {data.name}",
            token=options.get("token"),
            revision=one.facts["commit"],
        )
        report["models"][one.judged.name]["saved_calibration"] = ready_for_json(found)

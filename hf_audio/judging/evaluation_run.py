"""One evaluation, from models and data to the report."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_audio.data.index.columns import names_in
from hf_audio.errors import InputError
from hf_audio.html_parts import html_lines, html_table
from hf_audio.judging.calibrated_models import calibrate_model
from hf_audio.judging.card import write_card
from hf_audio.judging.class_mapping import JOIN, GivenMap, read_given_map
from hf_audio.judging.evaluation_data import VALIDATION, EvaluationData
from hf_audio.judging.evaluation_report import judged_report, recordings_of, said_of
from hf_audio.judging.evaluation_request import EvaluationRequest, check_judging, check_model
from hf_audio.judging.judged_clips import JudgedClips
from hf_audio.judging.page import write_page
from hf_audio.judging.page_cells import interval_text
from hf_audio.judging.playing import Recording
from hf_audio.judging.protocols import protocol_named, require_protocol
from hf_audio.judging.report import ready_for_json
from hf_audio.judging.scoring import ScoredModel, load_model, score
from hf_audio.judging.several_models import in_common, unique_names
from hf_audio.judging.stored_judgments import read_judged, write_judged
from hf_audio.judging.training_data import check_training_data, training_overlap
from hf_audio.judging.unknown_sounds import score_unknown, without_known
from hf_audio.judging.worse_recordings import robustness_of
from hf_audio.metrics import METRIC_NAMES, main_metrics
from hf_audio.models.foreign_checkpoint import Checkpoint
from hf_audio.predictor import Predictor
from hf_audio.privacy import write_published

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, repr=False)
class Evaluation:
    """The result of an evaluation.

    Attributes:
        report: from `judge`, with further requested results.
        models: the scores of each model.
        split: the evaluated split.
        places: each model's folder or name on the Hub, by its name.
        recordings: files of the clips on this machine, by clip_id.
    """

    report: dict[str, Any]
    models: list[ScoredModel]
    split: str
    places: dict[str, str] = field(default_factory=dict)
    recordings: dict[str, Recording] = field(default_factory=dict)

    def as_json(self) -> str:
        """The report as a string."""
        return json.dumps(self.report, indent=1, allow_nan=False, ensure_ascii=False) + "\n"

    def to_pandas(self) -> pandas.DataFrame:
        """A row for each metric of each model: model, metric, value, and the interval's low and high."""
        import pandas

        rows = [
            (model, name, *(found[key] for key in ("value", "low", "high")))
            for model, its in self.report["models"].items()
            for name, found in its["metrics"].items()
            if found is not None
        ]
        return pandas.DataFrame(rows, columns=["model", "metric", "value", "low", "high"])

    def write(self, folder: str | Path) -> Path:
        """Writes report.json, MODEL/scores/ and a page, as `hf-audio evaluate` does, and returns the page's path.

        Raises:
            InputError: a report already exists, or the folder cannot be written.
        """
        folder = Path(folder)
        if (folder / "report.json").exists():
            raise InputError(f"{folder} already holds a report: remove it, or give another folder")
        page = write_page(folder, self.report, self.recordings)
        for one in self.models:
            write_judged(folder / one.judged.name, one, self.split)
        write_published(folder / "report.json", self.as_json())
        return page

    def __repr__(self) -> str:
        return f"Evaluation({', '.join(self.report['models'])}: {self._title()})"

    def _repr_html_(self) -> str:
        metrics = main_metrics(self.report["data"]["problem_type"])
        rows = [
            [name, *(interval_text(its["metrics"].get(metric)) for metric in metrics)]
            for name, its in self.report["models"].items()
        ]
        table = html_table(["", *(METRIC_NAMES[name] for name in metrics)], rows)
        return html_lines(self._title(), table, *self.report["notes"])

    def _title(self) -> str:
        data, confidence = self.report["data"], self.report["settings"]["confidence"]
        return f"{data['num_clips']:,} clips of {data['split']}, {confidence:.0%} intervals by {data['drawn_by']}"

    def write_cards(self, token: str | None = None) -> list[str]:
        """Adds the results to the models' cards, and returns their locations."""
        return [write_card(place, self.report, name, token=token) for name, place in self.places.items()]


def evaluate_models(
    models: Sequence[str],
    data: EvaluationData,
    request: EvaluationRequest,
    options: Mapping[str, Any],
    *,
    keep: Callable[[Sequence[ScoredModel]], object] = lambda scored: None,
    **judging: Any,
) -> Evaluation:
    """Runs models from folders or the Hub on data, and evaluates their scores.

    Args:
        models: run folders, or names on the Hub.
        data: one split, see `EvaluationData.chosen`.
        request: further settings.
        options: arguments of `load_model`: token, revision, device ...
        keep: called with the scores after all models have run, so that an error in the evaluation does not lose hours
            of scoring.
        judging: arguments of `judge`, and `ensemble`: see `judged_report`.

    Raises:
        InputError: an error of `score`, `judge` or any other step.
    """
    protocol = protocol_named(request.protocol) if request.protocol else None
    if protocol:
        require_protocol(protocol, data, data.labels, len(data.evaluated))
        judging |= {"protocol": protocol.facts(), "aggregation": protocol.aggregation, "metric": protocol.metric}
    check_judging(data.name, data.splits, data.split, data.labels, calibrate=request.calibrate, **judging)
    names, token = unique_names(models), options.get("token")
    predictors = {name: load_model(model, name, **options) for model, name in names.items()}
    places = {name: model for model, name in names.items()}
    known = _known_of_training(predictors, places, data, request.allow_training_data, token)
    maps = read_given_map(request.label_map, data.labels, _labels(predictors)) if request.label_map else {}
    for name, predictor in predictors.items():
        check_model(predictor, data, request, maps.get(name))
    scored = _scored(predictors, data, request, maps, known, token)
    keep(scored)
    if protocol:
        judged = scored[0].judged  # scoring may have left out classes and clips
        require_protocol(protocol, data, judged.labels, len(judged.of_split(data.split)))
    unknown, told = _unknown(predictors, scored, request, token)
    notes = [*dict.fromkeys(told for one in scored for told in one.told), *told]
    report = judged_report(scored, data.split, said_of(data), notes, unknown=unknown, **judging)
    _add_robustness(report, predictors, scored, data, request, token)
    _add_calibration(report, scored, places, data, request, options)
    return Evaluation(report, scored, data.split, places, recordings_of(data))


def evaluate_stored(folders: Sequence[str], split: str | None, **judging: Any) -> Evaluation:
    """Evaluates the stored scores of runs or of an earlier evaluation, without the models.

    Args:
        split: the split to evaluate; by default the one that was evaluated when the scores were computed.

    Raises:
        InputError: see `read_judged` and `judge`.
    """
    names = unique_names(folders)
    found = [read_judged(folder, name) for folder, name in names.items()]
    splits = {its for _, its in found}
    if split is None and len(splits) > 1:
        raise InputError(f"The scores are for different splits ({', '.join(sorted(splits))}): give one as --split")
    split = split or splits.pop()
    scored = in_common([one for one, _ in found])
    judged = scored[0].judged
    check_judging("the stored data", names_in(judged.clips["split"]), split, judged.labels, **judging)
    notes = list(dict.fromkeys(told for one in scored for told in one.told))
    report = judged_report(scored, split, {"name": "stored scores"}, notes, **judging)
    return Evaluation(report, scored, split)


def _scored(
    predictors: Mapping[str, Predictor],
    data: EvaluationData,
    request: EvaluationRequest,
    maps: Mapping[str, GivenMap],
    known: Mapping[str, tuple[str, ...]],
    token: str | None,
) -> list[ScoredModel]:
    """The scores of the models, restricted to their common clips and classes."""
    found = []
    for name, predictor in predictors.items():
        one = score(predictor, data, given=maps.get(name), **_hearing(request, token))
        found.append(one._replace(told=(*known[name], *one.told)))
    return in_common(found)


def _hearing(request: EvaluationRequest, token: str | None) -> dict[str, Any]:
    return {"window_s": request.window_s, "hop_s": request.hop_s, "num_threads": request.num_threads, "token": token}


def _labels(predictors: Mapping[str, Predictor]) -> dict[str, Any]:
    return {name: predictor.labels for name, predictor in predictors.items()}


def _known_of_training(
    predictors: Mapping[str, Predictor],
    places: Mapping[str, str],
    data: EvaluationData,
    allow: bool,
    token: str | None,
) -> dict[str, tuple[str, ...]]:
    """Notes on each model's training data; raises InputError for models that were trained on these data."""
    known, overlaps = {}, False
    for name, predictor in predictors.items():
        found = training_overlap(name, Checkpoint(places[name], token, predictor.commit), data)
        known[name] = check_training_data(found, name, data, allow=allow)
        overlaps |= bool(found.refusal)
    if allow and not overlaps:
        raise InputError(
            "--allow_training_data would have no effect here: no model is known to have been trained on these clips; "
            "leave it out"
        )
    return known


def _unknown(
    predictors: Mapping[str, Predictor], scored: Sequence[ScoredModel], request: EvaluationRequest, token: str | None
) -> tuple[dict[str, JudgedClips], list[str]]:
    """The scores of each model for sounds of none of the classes, and notes on sounds that were left out."""
    if request.unknown is None:
        return {}, []
    data, told = without_known(request.unknown, _names_of_judged(scored))
    hearing = _hearing(request, token) if data.features is None else {}
    return {one.judged.name: score_unknown(predictors[one.judged.name], one, data, **hearing) for one in scored}, told


def _names_of_judged(scored: Sequence[ScoredModel]) -> set[str]:
    """All names of the evaluated classes: in the data, of each part of merged classes, and in the models."""
    of_data = {part for name in scored[0].judged.labels.names for part in (name, *name.split(JOIN))}
    return of_data | {name for one in scored for names in one.facts["classes"].values() for name in names}


def _add_robustness(
    report: dict[str, Any],
    predictors: Mapping[str, Predictor],
    scored: Sequence[ScoredModel],
    data: EvaluationData,
    request: EvaluationRequest,
    token: str | None,
) -> None:
    if request.robustness is None:
        return
    settings = report["settings"]
    for one in scored:
        facts = report["models"][one.judged.name]
        found = robustness_of(
            predictors[one.judged.name],
            one,
            data,
            facts["thresholds"],
            degradations=request.robustness,
            aggregation=settings["aggregation"],
            told=facts["aggregation_told"],
            num_clips=request.robustness_clips,
            **{name: settings[name] for name in ("num_draws", "confidence", "seed")},
            token=token,
        )
        facts["robustness"] = ready_for_json(found)


def _add_calibration(
    report: dict[str, Any],
    scored: Sequence[ScoredModel],
    places: Mapping[str, str],
    data: EvaluationData,
    request: EvaluationRequest,
    options: Mapping[str, Any],
) -> None:
    """Saves the model with a scaling fitted on validation."""
    if request.calibrate is None:
        return
    for one in scored:
        validation = one.judged.of_split(VALIDATION)
        found = calibrate_model(
            places[one.judged.name],
            validation,
            request.calibrate,
            request.calibrated_model,
            fitted_on=f"the validation split of {data.name}",
            token=options.get("token"),
            revision=one.facts["commit"],
        )
        report["models"][one.judged.name]["saved_calibration"] = ready_for_json(found)

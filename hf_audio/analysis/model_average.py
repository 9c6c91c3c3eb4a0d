"""Averaging the weights of trained models ("model soup", Wortsman et al. 2022, arXiv 2203.05482).

Models that were fine-tuned from the same weights with different seeds or settings are often in the same basin of the
loss. The mean of their weights is then a model as fast as each of them, and often better. Averaging models that were
trained from scratch separately gives a useless model, so an average is evaluated like any other run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from transformers import FeatureExtractionMixin, PreTrainedModel

from hf_audio.analysis.evaluation import judge
from hf_audio.data.loading.feature_collator import FeatureCollator
from hf_audio.data.loading.features_dataset import FeatureDataset
from hf_audio.errors import InputError
from hf_audio.files import read_json
from hf_audio.metrics import METRIC_NAMES, main_metrics
from hf_audio.models.inputs import model_inputs
from hf_audio.models.saving import save_extractor, save_model
from hf_audio.models.usage import Usage
from hf_audio.predictor import Predictor
from hf_audio.privacy import public_name
from hf_audio.training.averaged_weights import renew_statistics

# Keys of configs that may differ between runs: the model's origin, and values chosen from scores.
OF_A_RUN = {"_name_or_path", "name_or_path", "transformers_version", "decision_threshold", "sample_windows", "dtype"}
BATCH_SIZE = 32  # windows per forward pass, to measure the statistics of batch norms


class _Member(NamedTuple):
    """A model to be averaged."""

    name: str
    facts: dict[str, Any]
    weights: dict[str, Tensor]


class AveragedModel:
    """The mean of several models' weights, which `evaluate_model` accepts in place of a trainer.

    Attributes:
        features: the features to evaluate on, and to measure the statistics of batch norms on.
        averaged: the names of the averaged models.
    """

    def __init__(
        self,
        features: FeatureDataset,
        model: PreTrainedModel,
        extractor: FeatureExtractionMixin,
        members: Sequence[_Member],
        **options: Any,
    ) -> None:
        self.features, self.model, self.extractor, self.options = features, model, extractor, options
        self.averaged, self.chosen_by, self.first = [one.name for one in members], "all that were given", ""
        self._fill(members)

    def predictor(self) -> Predictor:
        """A predictor of the averaged model."""
        manifest = self.features.manifest
        usage = Usage(window_s=manifest["window_s"], hop_s=manifest["hop_s"])
        return Predictor(self.model, self.extractor, usage=usage, name="the average", **self.options)

    def facts(self) -> dict[str, Any]:
        """ "model", "training" and "log_history" of a report; "training" lists the averaged models."""
        num_parameters = sum(one.numel() for one in self.model.parameters())
        model = {
            "base_model": None,
            **_reported(self.first),
            "architecture": type(self.model).__name__,
            "adapter": None,
            "num_parameters": num_parameters,
            "num_trainable_parameters": num_parameters,
        }
        training = {
            "published weights": f"mean of the weights of {len(self.averaged)} trained models",
            "models": ", ".join(public_name(name) for name in self.averaged),
            "chosen by": self.chosen_by,
        }
        return {"model": model, "training": training, "log_history": []}

    def save(self, folder: Path) -> None:
        """Writes the model and its extractor."""
        save_model(self.model, folder)
        save_extractor(self.extractor, folder)

    def _fill(self, members: Sequence[_Member]) -> None:
        """Sets the mean of the members' weights, and measures the statistics of batch norms again."""
        for name, one in self.model.state_dict().items():
            if one.is_floating_point():
                mean = sum(member.weights[name].double() for member in members) / len(members)
                one.copy_(mean)
        if any(isinstance(module, _BatchNorm) for module in self.model.modules()) and len(members) > 1:
            self.model.train()
            renew_statistics(self.model, self._forward_passes())
            self.model.eval()

    def _forward_passes(self) -> Iterator[partial]:
        fields = getattr(self.model.config, "metadata", None)
        collator = FeatureCollator(self.extractor, self.features.labels, fields, of_sound=self.features.of_sound)
        rows, device = self.features.splits["train"], self.model.device
        for batch in rows.iter(BATCH_SIZE):
            windows = collator([dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)])
            inputs = {name: one.to(device) for name, one in windows.items()}
            yield partial(self.model, **model_inputs(self.model, inputs))


def average_models(
    names: Sequence[str], features: FeatureDataset, *, greedy: bool = False, token: str | None = None, **options: Any
) -> AveragedModel:
    """The mean of trained models' weights.

    Args:
        names: run folders or models on the Hub, at least two.
        features: features with the same classes; `greedy` uses their validation split.
        greedy: start with the model that is best on validation, then try the others, best first, and add each one that
            does not make the mean worse. Otherwise all are averaged.
        token: Hub token.
        options: arguments of Predictor, such as `device`.

    Raises:
        InputError: fewer than two models, duplicates, models that differ in more than their weights, or no validation
            split.
    """
    if len(names) < 2 or len(set(names)) < len(names):
        raise InputError(f"Averaging needs two or more different models; found {', '.join(names)}")
    if greedy and "validation" not in features.splits:
        raise InputError(f"{features.source} has no validation split to choose models on: leave out --greedy")
    first = Predictor.load(names[0], token=token, **options)
    members = [_member(names[0], first)]
    for name in names[1:]:
        members.append(_member(name, Predictor.load(name, token=token, **options)))
        _require_same(members[0], members[-1])
    model = first.model
    averaged = AveragedModel(first.as_read(features), model, first.extractor, members, **options)
    if greedy:
        _choose(averaged, members)
    averaged.first = names[0]
    return averaged


def _member(name: str, predictor: Predictor) -> _Member:
    if predictor.untrained:
        raise InputError(f"{name} is not a trained classifier: its checkpoint lacks {predictor.untrained[0]}")
    model = predictor.model
    if getattr(model.config, "logit_curve_points", 0):
        raise InputError(
            f"{name} was calibrated by isotonic scaling: average the uncalibrated models, then calibrate the result"
        )
    config = {key: value for key, value in model.config.to_dict().items() if key not in OF_A_RUN}
    usage = {"window_s": predictor.usage.window_s, "hop_s": predictor.usage.hop_s}
    facts = {"architecture": type(model).__name__, **config, **usage}
    facts |= {f"the extractor's {key}": value for key, value in predictor.extractor.to_dict().items()}
    return _Member(name, facts, {key: one.detach().cpu().clone() for key, one in model.state_dict().items()})


def _require_same(one: _Member, two: _Member) -> None:
    for key in [*one.facts, *two.facts]:
        here, there = one.facts.get(key), two.facts.get(key)
        if here != there:
            raise InputError(
                f"{two.name} cannot be averaged with {one.name}: {key} is {str(there)[:80]}, not {str(here)[:80]}; "
                "give runs of the same model on the same features"
            )


def _choose(averaged: AveragedModel, members: Sequence[_Member]) -> None:
    """Greedy choice: sets `averaged` to the mean that is best on validation."""
    metric = main_metrics(averaged.features.labels.problem_type)[0]

    def score(candidates: Sequence[_Member]) -> float:
        averaged._fill(candidates)
        scores = {"validation": averaged.predictor().scores(averaged.features, "validation")}
        return judge(scores, averaged.features.labels)["validation"][metric]

    alone = {one.name: score([one]) for one in members}
    ordered = sorted(members, key=lambda one: -alone[one.name])
    chosen, best = ordered[:1], alone[ordered[0].name]
    for one in ordered[1:]:
        found = score([*chosen, one])
        if found >= best:
            chosen, best = [*chosen, one], found
    averaged._fill(chosen)
    averaged.averaged = [one.name for one in chosen]
    averaged.chosen_by = f"{METRIC_NAMES[metric]} on validation, out of {len(members)}: {best:.3f}, the best alone " + (
        f"{alone[ordered[0].name]:.3f}"
    )


def _reported(name: str) -> dict[str, Any]:
    """The entries about the initial weights in the report of a run."""
    path = Path(name) / "report.json"
    model = deepcopy(read_json(path).get("model", {})) if path.is_file() else {}
    return {key: value for key, value in model.items() if key.startswith("base_")}

"""The model card of a run: README.md with metadata for the Hub, and code that runs without hf_audio."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, HfApi, ModelCard, ModelCardData

from hf_audio.files import read_json
from hf_audio.kinds import STORED_SOUND, kind_of
from hf_audio.markdown import Markdown, link, one_plain_line, table
from hf_audio.metrics import METRIC_NAMES, main_metrics
from hf_audio.models.origin import is_on_the_hub
from hf_audio.models.saving import needs_own_code
from hf_audio.privacy import is_repo_id, require_repo_ids, write_published
from hf_audio.publishing.handler import write_handler
from hf_audio.publishing.installing import OLDEST_TRANSFORMERS, install_line, needed_by, network_packages
from hf_audio.publishing.licenses import sources_of
from hf_audio.publishing.templates import render

USAGE = {"transformers": "network_usage.md", "sklearn": "classical_usage.md"}  # by library
TASK = "audio-classification"
HUB_METRICS = {  # the Hub's metric ids
    "accuracy": "accuracy",
    "f1_micro": "f1",
    "f1_macro": "f1",
    "mean_average_precision": "mean_average_precision",
    "lrap": "label_ranking_average_precision",
    "roc_auc_macro": "roc_auc",
}
PLOTS = {
    "f1_per_class.png": "F1 per class",
    "confusion.png": "Confusion matrix: predictions per true class",
    "roc_pr.png": "ROC and precision-recall curves",
    "training.png": "Training loss and validation scores over the course of training",
}


def write_model_card(
    run_folder: Path | str,
    report: Mapping[str, Any],
    *,
    repo_id: str | None = None,
    dataset_id: str | None = None,
    license: str | None = None,
) -> Path:
    """Writes README.md into a run folder, from its report, and handler.py and requirements.txt for Inference Endpoints.

    Args:
        run_folder: contains the model and becomes its repository; `adapter/` in it adds a section on the adapter.
        report: the result of `evaluate_model`, or the content of report.json.
        repo_id: repository of the model; without one the code shows the folder's name.
        dataset_id: repository of the features, if they are published.
        license: the model's license as the Hub writes it, e.g. "apache-2.0".

    Returns:
        The path of the card.

    Raises:
        InputError: a name is not valid for a repository.
    """
    folder = Path(run_folder)
    model_id = repo_id or folder.resolve().name
    require_repo_ids(repo_id, dataset_id)
    facts = _facts(report, model_id, dataset_id, license, folder)
    head = Markdown(_metadata(report, model_id, dataset_id, license).to_yaml())
    usage = Markdown(render(USAGE[_library(report)], **facts).strip())
    card = ModelCard(render("model_card.md", card_data=head, usage=usage, **facts))
    write_published(folder / "README.md", str(card))
    write_handler(folder, _library(report), facts["rule"], facts["packages"])
    return folder / "README.md"


def _metadata(report: Mapping[str, Any], model_id: str, dataset_id: str | None, license: str | None) -> ModelCardData:
    base_model = report["model"]["base_model"]
    corpus, split = one_plain_line(report["data"]["corpus"]["name"]), report["evaluated_split"]
    scores = report["results"]["model"][split]
    metrics = [name for name in main_metrics(report["task"]["problem_type"]) if scores[name] is not None]
    results = [
        EvalResult(
            task_type=TASK,
            task_name="Audio classification",
            dataset_type=dataset_id or corpus,
            dataset_name=corpus,
            dataset_split=split,
            metric_type=HUB_METRICS[name],
            metric_name=METRIC_NAMES[name],
            metric_value=round(scores[name], 4),
        )
        for name in metrics
    ]
    return ModelCardData(
        license=license and one_plain_line(license),
        library_name=_library(report),
        pipeline_tag=TASK,
        base_model=base_model if is_on_the_hub(base_model) else None,
        base_model_relation="finetune" if is_on_the_hub(base_model) else None,
        datasets=_datasets(report, dataset_id) or None,
        metrics=list(dict.fromkeys(HUB_METRICS[name] for name in metrics)),
        tags=_tags(report),
        model_name=model_id.split("/")[-1],
        eval_results=results,
        **_skops_metadata(report),
    )


def _skops_metadata(report: Mapping[str, Any]) -> dict[str, Any]:
    return {"model_format": "skops", "model_file": "model.skops"} if _library(report) == "sklearn" else {}


def _datasets(report: Mapping[str, Any], dataset_id: str | None) -> list[str]:
    """The datasets on the Hub that the model was trained on: its features, and their recordings."""
    sources = [one["source"] for one in sources_of(report["data"]["corpus"]) if one.get("revision")]
    return list(dict.fromkeys([*([dataset_id] if dataset_id else []), *filter(is_repo_id, sources)]))


def _library(report: Mapping[str, Any]) -> str:
    """The Hub's name of the library that loads the model."""
    return report["model"].get("library", "transformers")


def _tags(report: Mapping[str, Any]) -> list[str]:
    model, tags = report["model"], [TASK, "hf_audio"]
    if _library(report) == "sklearn":
        return [*tags, "skops", model["classical_model"]]
    if model["architecture"].startswith("AST"):
        tags.append("audio-spectrogram-transformer")
    return [*tags, "lora"] if model["adapter"] else tags


def _facts(
    report: Mapping[str, Any], model_id: str, dataset_id: str | None, license: str | None, folder: Path
) -> dict[str, Any]:
    """Values for the template."""
    data, model, task = report["data"], report["model"], report["task"]
    corpus, split = data["corpus"], report["evaluated_split"]
    scores = report["results"]["model"][split]
    kind, sample_rate = kind_of(data["extractor"]), data["extractor"]["sampling_rate"]
    cut = data.get(STORED_SOUND) or data["extractor"]  # for features computed from stored sound: its cutting rule
    base_model = model["base_model"]
    network = model.get("network") or {}
    network_folder = folder / "network" if network else folder
    packages = _packages(report, _config(network_folder), _config(folder, "preprocessor_config.json"))
    return {
        "name": model_id.split("/")[-1],
        "model_id": model_id,
        "labels": task["labels"],
        "multi_label": task["problem_type"] == "multi_label_classification",
        "model": model,
        "endpoint": HfApi().endpoint,
        "base_model_link": link(base_model, f"{HfApi().endpoint}/{base_model}" if is_on_the_hub(base_model) else None),
        "teacher": _teacher(report),
        "corpus": corpus,
        "sources": sources_of(corpus),
        "corpus_link": link(corpus["name"], corpus["homepage"]),
        "window_s": f"{data['window_s']:g}",
        "hop_s": f"{data['hop_s']:g}",
        "sample_rate": sample_rate,
        "rule": kind_of(cut).sample_windows(cut, data["window_s"], data["hop_s"]),
        "packages": packages,
        "install": install_line(packages),
        "threshold": scores.get("threshold"),
        "threshold_chosen": "validation" in data["splits"],
        "has_adapter": (folder / "adapter").is_dir(),
        "cuts": kind.cuts,
        "stereo": bool({"left", "right"} & set(kind.channels(data["extractor"]))),
        "heard": kind.card.heard,
        "trust": ", trust_remote_code=True" if _needs_own_code(network_folder) else "",
        "trusted": _config(folder).get("trusted_types", []),
        "calibrated": bool(report["training"].get("logits calibrated on")),
        "network_window_samples": round(data["window_s"] * network.get("sampling_rate", 0)),
        "versions": report["versions"],
        "split": split,
        "splits": data["splits"],
        "notes": report["notes"],
        "resampling": report.get("resampling"),
        "plots": [(name, text) for name, text in PLOTS.items() if name in report["plots"]],
        "command": report["command"],
        "license": license,
        "dataset_id": dataset_id,
        "results_table": _results_table(report),
        "class_table": _class_table(scores["per_class"]),
        "split_table": _split_table(data["splits"]),
        "training_table": _training_table(report["training"]),
    }


def _teacher(report: Mapping[str, Any]) -> dict[str, Any] | None:
    """The teacher whose predictions the model was trained on, with a link to it if it is on the Hub."""
    settings = report["training"].get("settings")
    found = settings.get("distillation") if isinstance(settings, Mapping) else None  # classical models have a text
    if not found:
        return None
    name = found["teacher"]
    address = f"{HfApi().endpoint}/{name}" if found["commit"] and is_on_the_hub(name) else None
    return {**found, "link": link(name, address)}


def _results_table(report: Mapping[str, Any]) -> str:
    metrics = main_metrics(report["task"]["problem_type"])
    rows = [
        [title, *(_number(report["results"][row][report["evaluated_split"]][name]) for name in metrics)]
        for row, title in report["rows"].items()
    ]
    return table(["", *(METRIC_NAMES[name] for name in metrics)], rows)


def _class_table(per_class: Mapping[str, Mapping[str, Any]]) -> str:
    columns = {"precision": "precision", "recall": "recall", "f1": "F1", "average_precision": "average precision"}
    rows = [[name, one["support"], *(_number(one[key]) for key in columns)] for name, one in per_class.items()]
    return table(["class", "clips", *columns.values()], rows)


def _split_table(splits: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        [name, *(f"{one[key]:,}" for key in ("num_clips", "num_groups", "num_windows"))] for name, one in splits.items()
    ]
    return table(["split", "clips", "groups", "windows"], rows)


def _training_table(training: Mapping[str, Any]) -> str:
    if "learning_rate" not in training or "steps" not in training:
        facts = {name: value for name, value in training.items() if isinstance(value, str | int | float)}
        return table(["", ""], [[name, _plain(value)] for name, value in facts.items()])
    rows = {
        "epochs": _number(training["epochs"], "{:.4g}"),
        "optimizer steps": _number(training["steps"], "{:,}"),
        "windows per step": _number(training["windows_per_step"], "{:,}"),
        "learning rate": f"{training['learning_rate']:g}, {training['lr_scheduler']}",
        "weight decay": f"{training['weight_decay']:g}",
        **training["objective"],
        **training["optimizing"],
        "precision": training["precision"],
        "device": f"{training['num_processes']} × {training['device']}",
        "training time": _number(training["seconds"], "{:,.0f} s"),
        "seed": training["seed"],
    }
    return table(["", ""], [[name, value] for name, value in rows.items()])


def _number(value: float | None, form: str = "{:.3f}") -> str:
    return "–" if value is None else form.format(value)


def _plain(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _needs_own_code(folder: Path) -> bool:
    """Whether the model or extractor in a folder is defined by our Python files beside it."""
    return needs_own_code(_config(folder), _config(folder, "preprocessor_config.json"))


def _config(folder: Path, name: str = "config.json") -> dict[str, Any]:
    return read_json(folder / name) if (folder / name).is_file() else {}


def _packages(report: Mapping[str, Any], config: Mapping[str, Any], extractor: Mapping[str, Any]) -> list[str]:
    """The packages that the card's code needs, without their dependencies."""
    if _library(report) != "sklearn":
        return network_packages(config, extractor)
    packages = ["torch"] if report["model"]["network"] else []
    packages += ["soundfile", "soxr", f"scikit-learn=={report['versions']['scikit-learn']}", "skops>=0.15"]
    return [f"transformers>={OLDEST_TRANSFORMERS}", *packages, *needed_by(config, extractor)]

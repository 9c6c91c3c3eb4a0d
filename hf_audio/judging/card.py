"""Adds the results of a report to a model card: model-index metadata, which the Hub shows, and a table with intervals.

The rest of the card is unchanged, including other results. Writing the same report twice changes nothing.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult
from huggingface_hub.repocard import REGEX_YAML_BLOCK
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results
from huggingface_hub.utils import yaml_dump

from hf_audio.errors import InputError, one_line
from hf_audio.files import parse_yaml, read_text
from hf_audio.judging.conditions import condition_name
from hf_audio.judging.page_cells import interval_words
from hf_audio.markdown import Markdown, escaped, one_plain_line, table
from hf_audio.metrics import METRIC_NAMES
from hf_audio.privacy import is_repo_id, write_published
from hf_audio.publishing.hub import HubRepo
from hf_audio.publishing.model_card import HUB_METRICS, TASK

CARD = "README.md"
MAX_CARD_BYTES = 4 << 20
INDEX_BLOCK = re.compile(r"^model-index[ \t]*:.*(?:\r?\n(?:[ \t-].*|))*", re.MULTILINE)


def write_card(place: str | Path, report: Mapping[str, Any], model: str, *, token: str | None = None) -> str:
    """Writes the results of one model of a report into its card.

    Args:
        place: the model's folder, or its repository on the Hub, "name" or "namespace/name".
        report: from `judge`.
        model: the model's name in the report.
        token: for the Hub; None uses HF_TOKEN or the token of `hf auth login`.

    Returns:
        The location of the card: a path or an address.

    Raises:
        InputError: no such folder or repository, a card that cannot be read or contains a token, a model-index that the
            Hub would reject, or an error of `HubRepo`.
    """
    folder = Path(place)
    if folder.is_dir():
        _rewrite(folder, report, model, folder.resolve().name)
        return str(folder / CARD)
    if not is_repo_id(str(place)):
        raise InputError(f"{place} is neither a folder nor the name of a model on the Hub, so it has no card")
    repo = HubRepo(str(place), "model", token)
    if repo.is_private() is None:
        raise InputError(
            f"There is no model {repo.repo_id} on the Hub that this token can read: check its name, or push it"
        )
    with tempfile.TemporaryDirectory() as taken:
        repo.download(CARD, Path(taken), MAX_CARD_BYTES)
        if _rewrite(Path(taken), report, model, repo.repo_id.split("/")[-1]):
            name = one_plain_line(report["data"]["name"])
            repo.upload(Path(taken), [CARD], f"Add results on {name[:100]}")
    return repo.url


def _rewrite(folder: Path, report: Mapping[str, Any], model: str, name: str) -> bool:
    """Writes the card in a folder, which may have none; returns whether it changed."""
    path = folder / CARD
    old = read_text(path, MAX_CARD_BYTES) if path.exists() else ""
    new = with_results(old, report, model, name)
    if new != old:
        write_published(path, new)
    return new != old


def with_results(card: str, report: Mapping[str, Any], model: str, name: str) -> str:
    """The text of a card with the results of a model added.

    Args:
        card: its current text; may be empty.
        name: name of the model, for a card that does not have it.

    Raises:
        InputError: its metadata is not YAML, or its model-index is invalid.
    """
    found = REGEX_YAML_BLOCK.search(card)
    block, body = (found[2], card[found.end() :]) if found else ("", card)
    metadata = parse_yaml(block, CARD) if block.strip() else {}
    index = _merged(_known_index(metadata, name), _results(report, model))
    body = _with_section(body or f"\n# {escaped(name)}\n", report, model)
    return f"---\n{_with_index(block, metadata, index).strip()}\n---\n{body}"


def _known_index(metadata: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The card's model-index; an empty one if it has none."""
    index = metadata.get("model-index")
    if not index:
        return [{"name": name, "results": []}]
    try:
        model_index_to_eval_results(index)
        if not all(isinstance(one["metrics"], list) for one in index[0].get("results") or []):
            raise TypeError("metrics are not a list")
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(
            f"The Hub cannot read the model-index of {CARD} ({one_line(error)}): fix it, or remove it"
        ) from error
    return index


def _results(report: Mapping[str, Any], model: str) -> list[dict[str, Any]]:
    """The results of a model in the form of a model-index."""
    data, settings = report["data"], report["settings"]
    results = []
    for name, interval in report["models"][model]["metrics"].items():
        if name not in HUB_METRICS or interval["value"] is None:
            continue
        args: dict[str, Any] = {"aggregation": settings["aggregation"], "num_clips": data["num_clips"]}
        args["num_classes"] = len(data["classes"])  # may be fewer than in the data: a model may lack some
        if interval["low"] is not None:
            args |= {
                "confidence": settings["confidence"],
                "interval_low": round(interval["low"], 4),
                "interval_high": round(interval["high"], 4),
                "drawn_by": data["drawn_by"],
            }
        results.append(
            EvalResult(
                task_type=TASK,
                task_name="Audio classification",
                dataset_type=data.get("dataset_id") or one_plain_line(data["name"]),
                dataset_name=one_plain_line(data["name"]),
                dataset_config=data.get("config"),
                dataset_split=data["split"],
                dataset_revision=data.get("revision"),
                metric_type=HUB_METRICS[name],
                metric_name=METRIC_NAMES[name],
                metric_value=round(interval["value"], 4),
                metric_args=args,
            )
        )
    if not results:
        raise InputError(f"The report has no metrics of {model} for a card, because its data have no known labels")
    return eval_results_to_model_index(model, results)[0]["results"]


def _merged(index: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The index with the new metrics for the same data; results verified by others are kept as separate entries."""
    results = [*(index[0].get("results") or [])]
    for one in new:
        places = [place for place, other in enumerate(results) if _identity(other) == _identity(one)]
        if not places:
            results.append(one)
            continue
        names = {(metric["type"], metric["name"]) for metric in one["metrics"]}
        others = results[places[0]]
        kept = [metric for metric in others["metrics"] if (metric.get("type"), metric.get("name")) not in names]
        results[places[0]] = {**others, "dataset": one["dataset"], "metrics": [*kept, *one["metrics"]]}
    return [{**index[0], "results": results}, *index[1:]]


def _identity(result: Mapping[str, Any]) -> tuple:
    dataset = result["dataset"]
    source = result.get("source") or any("verified" in metric for metric in result["metrics"])
    keys = ("type", "config", "split", "revision")
    return (result["task"]["type"], *(dataset.get(key) for key in keys), str(source))


def _with_index(block: str, metadata: Mapping[str, Any], index: list[dict[str, Any]]) -> str:
    """A card's YAML with another model-index; everything else is kept verbatim if the old index can be cut out."""
    wanted = {**metadata, "model-index": index}
    written = yaml_dump({"model-index": index}, sort_keys=False).strip()
    lines = block.replace("\r\n", "\n")
    rest, num_cut = INDEX_BLOCK.subn(lambda _: written + "\n", lines, count=1)
    text = rest if num_cut else f"{lines.rstrip()}\n{written}\n"
    try:
        if parse_yaml(text, CARD) == wanted:
            return text
    except InputError:
        pass
    return yaml_dump(wanted, sort_keys=False)


def _with_section(body: str, report: Mapping[str, Any], model: str) -> str:
    """A card's text with the table of results on these data, which replaces an earlier one."""
    data = report["data"]
    identity = [data.get("dataset_id") or data["name"], data.get("config"), data["split"], data.get("revision")]
    key = hashlib.sha256(repr(identity).encode()).hexdigest()[:12]
    begin, end = f"<!-- judged {key} -->", f"<!-- end of judged {key} -->"
    section = f"{begin}\n{_section(report, model)}\n{end}"
    earlier = re.compile(re.escape(begin) + r".*?" + re.escape(end), re.DOTALL)
    if earlier.search(body):
        return earlier.sub(lambda _: section, body, count=1)
    return f"{body.rstrip()}\n\n{section}\n"


def _section(report: Mapping[str, Any], model: str) -> Markdown:
    data, settings = report["data"], report["settings"]
    percent = f"{100 * settings['confidence']:g}%"
    rows = [
        [METRIC_NAMES.get(name, name), f"{one['value']:.3f}", interval_words(one)]
        for name, one in report["models"][model]["metrics"].items()
        if one["value"] is not None
    ]
    notes = "".join(f"\n- {escaped(one_plain_line(note))}" for note in _notes(report, model))
    is_by_group = data["drawn_by"] == "group"
    of_groups = f" from {data['num_groups']:,} groups" if is_by_group else ""
    return Markdown(
        f"## Results on {escaped(data['name'])}, {escaped(data['split'])} split\n\n"
        f"{table(['metric', 'value', f'{percent} interval'], rows)}\n\n"
        f"Evaluated on {data['num_clips']:,} clips{of_groups}. The intervals are bootstrap confidence intervals over "
        f"{'groups' if is_by_group else 'clips'} ({settings['num_draws']:,} resamples). Aggregation of window scores "
        f"per clip: {escaped(settings['aggregation'])}."
        f"{notes and chr(10) + notes}"
        f"{_robustness(report['models'][model].get('robustness'), percent)}"
    )


def _robustness(found: Mapping[str, Any] | None, percent: str) -> Markdown:
    """The main metric on degraded versions of the same recordings; empty if none were evaluated."""
    if not found or not found["conditions"]:
        return Markdown("")
    metric = found["metric"]
    named = [("original", found["clean"]), *((condition_name(row), row) for row in found["conditions"])]
    rows = [
        [name, f"{one['value']:.3f}", interval_words(one)]
        for name, row in named
        if (one := row["metrics"][metric])["value"] is not None
    ]
    return Markdown(f"\n\n{table(['recordings', METRIC_NAMES[metric], f'{percent} interval'], rows)}")


def _notes(report: Mapping[str, Any], model: str) -> list[str]:
    """The notes of a report that concern a model: all except those about other models only."""
    of_models = {name: one.get("told", ()) for name, one in report["models"].items()}
    of_others = {note for name, told in of_models.items() for note in told if name != model}
    return [note for note in report["notes"] if note in of_models[model] or note not in of_others]

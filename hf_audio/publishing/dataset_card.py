"""The card of a feature dataset: README.md with metadata for the Hub, and two plots."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import DatasetCard, DatasetCardData
from matplotlib.figure import Figure

from hf_audio.data.foreign import manifest as foreign_manifest
from hf_audio.data.index.labels import MULTI_LABEL
from hf_audio.errors import InputError
from hf_audio.figures.windows import class_distribution, drawn_classes, feature_groups
from hf_audio.files import read_json, read_whole, write_atomically
from hf_audio.kinds import CardText, Form, kind_of
from hf_audio.markdown import Markdown, one_plain_line
from hf_audio.privacy import require_repo_ids, write_published
from hf_audio.publishing.installing import install_line
from hf_audio.publishing.licenses import hub_licenses, sources_of
from hf_audio.publishing.templates import fill, render

MAX_CARD_BYTES = 1 << 20
SIZE_CATEGORIES = {10**3: "n<1K", 10**4: "1K<n<10K", 10**5: "10K<n<100K", 10**6: "100K<n<1M", 10**7: "1M<n<10M"}


def read_manifest(folder: Path) -> dict[str, Any]:
    """Reads manifest.json, which `build_features` writes last.

    Raises:
        InputError: it is missing, so the folder is not a finished feature dataset; or its content is invalid.
    """
    path = folder / "manifest.json"
    if not path.is_file():
        raise InputError(
            f"{folder} has no manifest.json, so it is not a finished feature dataset: finish building it first"
        )
    return foreign_manifest.read_manifest(path)


def write_dataset_card(folder: str | Path, repo_id: str | None = None) -> Path:
    """Writes README.md and its plots into a finished feature folder.

    Args:
        folder: the output of `build_features`.
        repo_id: "namespace/name" for the code that loads the dataset; None shows the folder instead.

    Returns:
        Path of README.md.

    Raises:
        InputError: the folder is not finished, or `repo_id` is not a valid name.
    """
    require_repo_ids(repo_id)
    folder = Path(folder)
    manifest = read_manifest(folder)
    if (folder / "plots").is_symlink():
        raise InputError(f"{folder / 'plots'} is a link, and hf_audio does not write through links: remove it")
    (folder / "plots").mkdir(exist_ok=True)
    _save(class_distribution(manifest), folder / "plots" / "class_distribution.png")
    plot, caption = drawn_classes(folder, manifest)
    _save(plot, folder / "plots" / "windows.png")
    facts = {
        "source": repo_id or f"./{folder.resolve().name}",  # load_dataset(".") fails: it needs a name
        "multi_label": manifest["problem_type"] == MULTI_LABEL,
        "caption": caption,
        "feature_groups": _feature_groups(manifest),
        "preprocessor": read_json(folder / "preprocessor_config.json"),
        "sources": sources_of(manifest["corpus"]),
        **manifest,
    }
    card_data = Markdown(card_metadata(manifest).to_yaml())
    of_kind = kind_of(manifest["extractor"])
    reader = "pillow" if of_kind.form is Form.IMAGE else of_kind.card.library
    facts["install"] = install_line(["datasets", reader])
    card = render("dataset_card.md", card_data=card_data, kind=_of_kind(manifest, facts), **facts)
    write_published(folder / "README.md", str(DatasetCard(card)))
    return folder / "README.md"


def check_card(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Checks that the YAML head of an existing card makes `load_dataset` load this dataset's shards only.

    Raises:
        InputError: it names other files, or the card has no valid YAML head.
    """
    path = folder / "README.md"
    try:
        configs = DatasetCard(read_whole(path, MAX_CARD_BYTES).decode()).data.get("configs")
    except (ValueError, TypeError, AttributeError, RecursionError, yaml.YAMLError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path} has no valid YAML head: fix it, or remove the file to have a new card written"
        ) from error
    if configs not in (None, card_metadata(manifest).to_dict()["configs"]):
        raise InputError(
            f"The configs in the YAML head of {path} make `load_dataset` read files that are not this dataset's: "
            "remove the configs, or remove the file to have a new card written"
        )


def name_repo(folder: Path, repo_id: str) -> None:
    """Replaces the local folder in a card's code by the repository that it is pushed to; the rest stays unchanged."""
    require_repo_ids(repo_id)
    card = read_whole(folder / "README.md", MAX_CARD_BYTES).decode(errors="replace")
    named = re.sub(r'\("\./(?:[^"\\\n]|\\.)+"', lambda found: f'("{repo_id}"', card)
    if named != card:
        write_published(folder / "README.md", named)


def card_metadata(manifest: Mapping[str, Any]) -> DatasetCardData:
    """The YAML head, which the Hub's search and viewer and `load_dataset` use."""
    num_windows = sum(split["num_windows"] for split in manifest["splits"].values())
    size = next((name for limit, name in SIZE_CATEGORIES.items() if num_windows < limit), "n>1T")
    of_kind = kind_of(manifest["extractor"]).card
    files = [{"split": split, "path": f"data/{split}-*"} for split in manifest["splits"]]
    return DatasetCardData(
        pretty_name=one_plain_line(f"{manifest['corpus']['name']}: {of_kind.title}"),
        task_categories=["audio-classification"],
        tags=["audio-classification", "audio", *of_kind.tags, "hf_audio"],
        size_categories=[size],
        configs=[{"config_name": "default", "data_files": files}],
        **hub_licenses(sources_of(manifest["corpus"])),
    )


def _of_kind(manifest: dict[str, Any], facts: dict[str, Any]) -> CardText:
    """The card text of this kind of feature, filled with these facts."""
    of_kind = kind_of(manifest["extractor"]).card
    filled: dict[str, Any] = {
        name: fill(getattr(of_kind, name), **facts) for name in ("row", "code", "values", "columns")
    }
    return of_kind._replace(imports=Markdown(of_kind.imports), **filled)


def _feature_groups(manifest: dict[str, Any]) -> list[tuple[int, int, Markdown]]:
    """For vectors: which numbers belong together, as (first, last, names)."""
    if kind_of(manifest["extractor"]).form is not Form.VECTORS:
        return []
    return [(first, last, Markdown(names)) for first, last, names in feature_groups(manifest["extractor"])]


def _save(figure: Figure, path: Path) -> None:
    plot = io.BytesIO()
    figure.savefig(plot, format="png", dpi=100)
    write_atomically(path, plot.getvalue())

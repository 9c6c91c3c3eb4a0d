"""The card of a feature dataset: README.md with metadata that the Hub reads, and its two pictures."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

from huggingface_hub import DatasetCard, DatasetCardData
from matplotlib.figure import Figure

from hf_audio.data.feature_storage import storage_of
from hf_audio.data.labels import MULTI_LABEL
from hf_audio.errors import InputError
from hf_audio.files import write_atomically
from hf_audio.pictures.windows import class_distribution, feature_groups, pictured_classes

TEMPLATE = Path(__file__).with_name("dataset_card.md")
# Those of the Hub's licence identifiers that recordings come under: https://huggingface.co/docs/hub/repositories-licenses
HUB_LICENCES = frozenset(
    "cc cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 "  # noqa: SIM905
    "cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 "
    "cdla-sharing-1.0 cdla-permissive-1.0 cdla-permissive-2.0 c-uda odc-by odbl pddl mit apache-2.0 bsd-3-clause gpl "
    "gpl-2.0 gpl-3.0 lgpl-3.0 agpl-3.0 artistic-2.0 unlicense wtfpl gfdl unknown".split()
)
SIZE_CATEGORIES = {10**3: "n<1K", 10**4: "1K<n<10K", 10**5: "10K<n<100K", 10**6: "100K<n<1M", 10**7: "1M<n<10M"}
# what the features of each kind are called in titles, and what the Hub finds them by
TITLES = {
    "fbank": "log-mel features",
    "spectrogram": "spectrograms",
    "waveform": "waveforms",
    "classical": "classical features",
}
TAGS = {
    "fbank": ["spectrogram"],
    "spectrogram": ["spectrogram"],
    "waveform": [],
    "classical": ["librosa", "tabular"],
}


def read_manifest(folder: Path) -> dict[str, Any]:
    """What `build_features` writes last.

    Raises:
        InputError: it is not there, so the folder is not a finished feature dataset.
    """
    path = folder / "manifest.json"
    if not path.is_file():
        raise InputError(f"{folder} has no manifest.json, so it is no finished feature dataset: build it to its end")
    return json.loads(path.read_text(encoding="utf-8"))


def write_dataset_card(folder: str | Path, repo_id: str | None = None) -> Path:
    """Write README.md and its pictures into a finished feature folder.

    Args:
        folder: what `build_features` made.
        repo_id: "namespace/name" for the lines that show how to read it; None names the folder itself.

    Returns:
        Path of README.md.

    Raises:
        InputError: the folder is not finished.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    (folder / "pictures").mkdir(exist_ok=True)
    _save(class_distribution(manifest), folder / "pictures" / "class_distribution.png")
    picture, caption = pictured_classes(folder, manifest)
    _save(picture, folder / "pictures" / "windows.png")
    kind = storage_of(manifest["extractor"]).kind
    card = DatasetCard.from_template(
        card_metadata(manifest),
        template_path=str(TEMPLATE),
        source=repo_id or f"./{folder.resolve().name}",  # load_dataset(".") fails: it wants a name
        multi_label=manifest["problem_type"] == MULTI_LABEL,
        kind=kind,
        title=TITLES[kind],
        caption=caption,
        feature_groups=feature_groups(manifest["extractor"]) if kind == "classical" else (),
        preprocessor=json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8")),
        **manifest,
    )
    write_atomically(folder / "README.md", str(card))
    return folder / "README.md"


def name_repo(folder: Path, repo_id: str) -> None:
    """Let a card that reads from its own folder read from the repository it is pushed to; all else in it stays."""
    card = (folder / "README.md").read_text(encoding="utf-8")
    named = re.sub(r'\("\./[^"]+"', f'("{repo_id}"', card)
    if named != card:
        write_atomically(folder / "README.md", named)


def card_metadata(manifest: dict[str, Any]) -> DatasetCardData:
    """The YAML head: what the Hub's search, viewer and `load_dataset` go by."""
    num_windows = sum(split["num_windows"] for split in manifest["splits"].values())
    size = next((name for limit, name in SIZE_CATEGORIES.items() if num_windows < limit), "n>1T")
    kind = storage_of(manifest["extractor"]).kind
    files = [{"split": split, "path": f"data/{split}-*"} for split in manifest["splits"]]
    return DatasetCardData(
        pretty_name=f"{manifest['corpus']['name']}: {TITLES[kind]}",
        task_categories=["audio-classification"],
        tags=["audio-classification", "audio", *TAGS[kind], "hf_audio"],
        size_categories=[size],
        configs=[{"config_name": "default", "data_files": files}],
        **hub_licence(manifest["corpus"]["licence"], manifest["corpus"].get("homepage")),
    )


def hub_licence(licence: str, homepage: str | None = None) -> dict[str, str]:
    """A licence's name as metadata: one of the Hub's identifiers, or "other" with the name beside it.

    >>> hub_licence("CC BY-NC-SA 3.0")
    {'license': 'cc-by-nc-sa-3.0'}
    """
    slug = re.sub(r"[^a-z0-9.]+", "-", licence.lower()).strip("-")
    if slug in HUB_LICENCES:
        return {"license": slug}
    link = {"license_link": homepage} if homepage else {}
    return {"license": "other", "license_name": slug or "unknown", **link}


def _save(figure: Figure, path: Path) -> None:
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=100)
    write_atomically(path, picture.getvalue())

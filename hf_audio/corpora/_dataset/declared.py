"""The machine-readable part of a dataset's card: configurations, column types, license and citation."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datasets import DatasetInfo, Features
from datasets.info import DatasetInfosDict
from datasets.utils.metadata import MetadataConfigs

from hf_audio.corpora._dataset.place import Place
from hf_audio.errors import InputError, one_line, unknown_name
from hf_audio.files import parse_yaml, read_text

MAX_README_BYTES = 4 << 20
_HEAD = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)


@dataclass(frozen=True)
class Declared:
    """The metadata and text of a card, README.md, all of it untrusted.

    Attributes:
        facts: the YAML metadata between the dashes.
        configs: parameters of each configuration, such as `data_files`.
        infos: descriptions of each configuration, with column types.
        text: the text after the metadata.
    """

    facts: dict[str, Any] = field(default_factory=dict)
    configs: MetadataConfigs = field(default_factory=MetadataConfigs)
    infos: DatasetInfosDict = field(default_factory=DatasetInfosDict)
    text: str = ""

    def info(self, config: str | None) -> DatasetInfo:
        """The description of a configuration; an empty one if there is none."""
        return self.infos.get(config or "default") or (
            next(iter(self.infos.values())) if len(self.infos) == 1 else DatasetInfo()
        )

    def features(self, config: str | None) -> Features:
        """The column types that the card declares, possibly none."""
        of_config = self.configs.get(config or "default", {}).get("features")
        return of_config or self.info(config).features or Features()


def declared_by(place: Place) -> Declared:
    """The card of a dataset; empty if there is none.

    Raises:
        InputError: its metadata is not YAML, or `datasets` cannot read it.
    """
    if not place.holds("README.md"):
        return Declared()
    name = f"README.md of {place.name}"
    written = place.read(f"{place.root}/README.md", MAX_README_BYTES).decode(errors="replace")
    head = _HEAD.match(written)
    if not head:
        return Declared(text=written)
    facts = parse_yaml(head[1], name) if head[1].strip() else {}
    try:
        configs = MetadataConfigs.from_dataset_card_data(facts)
        infos = DatasetInfosDict.from_dataset_card_data(facts)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{name} declares configurations or columns that datasets cannot read ({one_line(error)}); ask "
            "its authors to fix it, or download it and fix the copy"
        ) from error
    return Declared(facts, configs, infos, written[head.end() :])


def head_of(readme: Path) -> dict[str, Any]:
    """The YAML metadata of a card on this disk; empty if it has none.

    Raises:
        InputError: it is not YAML.
    """
    head = _HEAD.match(read_text(readme, MAX_README_BYTES))
    return parse_yaml(head[1], readme) if head and head[1].strip() else {}


def chosen_config(declared: Declared, place: Place, wanted: str | None) -> str | None:
    """The name of the configuration to read; None if the dataset has none.

    Raises:
        InputError: there are several and none is chosen, or the chosen one does not exist.
    """
    names = list(declared.configs) or (list(declared.infos) if len(declared.infos) > 1 else [])
    if wanted:
        if wanted not in (names or ["default"]):
            raise unknown_name(f"configuration of {place.name}", wanted, names or ["default"])
        return wanted
    try:
        default = declared.configs.get_default_config_name() if declared.configs else None
    except ValueError:
        default = None
    if default or len(names) < 2:
        return default
    raise InputError(
        f"{place.name} has {len(names)} configurations ({', '.join(sorted(names)[:12])}"
        f"{' ...' if len(names) > 12 else ''}); choose one, e.g. --dataset_config_name {names[0]}"
    )


def saved_info(place: Place, file: str) -> DatasetInfo:
    """License, citation and homepage from the dataset_info.json that save_to_disk writes; empty if there is none.

    Raises:
        InputError: it is not JSON.
    """
    if not place.holds(file):
        return DatasetInfo()
    found = place.read_json(file)
    told = {name: found.get(name) for name in ("license", "citation", "homepage")}
    return DatasetInfo(**{name: text for name, text in told.items() if isinstance(text, str)})

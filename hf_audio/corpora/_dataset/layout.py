"""Finds the files of a dataset's splits, from its configurations or the layouts that `datasets` knows."""

from __future__ import annotations

import glob
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from datasets import DownloadConfig
from datasets.data_files import EmptyDatasetError, get_data_patterns, resolve_pattern, sanitize_patterns

from hf_audio.corpora._dataset.declared import Declared, chosen_config
from hf_audio.corpora._dataset.place import Place
from hf_audio.corpora.folder.contents import AUDIO_SUFFIXES
from hf_audio.errors import InputError, one_line, unknown_name
from hf_audio.hub_access import hub_errors_in_words

PARQUET, ARROW, TAR, AUDIO_FILES = "Parquet", "Arrow", "tar", "audio"
METADATA_NAMES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
SAVED_SPLITS, SAVED = "dataset_dict.json", "state.json"
# The Hub's Parquet copy of a dataset: CONFIG/SPLIT/0000.parquet
_CONVERTED = re.compile(r"(?P<config>[^/]+)/(?:partial-)?(?P<split>[^/]+)/\d{4}\.parquet")


class Layout(NamedTuple):
    """The files of a dataset.

    Attributes:
        kind: one of PARQUET, ARROW, TAR, AUDIO_FILES.
        config: the configuration that is read; None if the dataset has none.
        files: addresses of files, by the dataset's name of the split.
        metadata: for AUDIO_FILES, addresses of the tables next to or above them, by split.
        not_used: names of other files.
    """

    kind: str
    config: str | None
    files: dict[str, list[str]]
    metadata: dict[str, list[str]]
    not_used: list[str]


def layout_of(place: Place, declared: Declared, config: str | None = None) -> Layout:
    """The files of a dataset.

    Args:
        place: where the dataset is.
        declared: its card.
        config: the configuration that the user chose.

    Raises:
        InputError: no audio files, several configurations and none chosen, a script, or patterns that lead
            elsewhere.
    """
    if _is_saved(place):
        return _saved(place, config)
    converted = [_CONVERTED.fullmatch(file) for file in place.files if file.endswith(".parquet")]
    if converted and all(converted) and not declared.configs:
        return _converted(place, converted, config)
    config = chosen_config(declared, place, config)
    with hub_errors_in_words(place.name, place.commit):
        found = _resolved(place, declared.configs.get(config, {}) if config else {})
    return _of_one_kind(place, config, found)


def _is_saved(place: Place) -> bool:
    """Whether save_to_disk wrote it; a repository may have an unrelated state.json."""
    has_arrow = not place.is_on_hub or any(name.endswith(".arrow") for name in place.files)
    return has_arrow and (place.holds(SAVED_SPLITS) or place.holds(SAVED))


def _resolved(place: Place, parameters: Mapping[str, object]) -> dict[str, list[str]]:
    """Addresses of the files of each split, as `datasets` finds them."""
    base = place.root if place.is_on_hub else glob.escape(place.root)
    folder, patterns = parameters.get("data_dir"), parameters.get("data_files")
    if folder:
        _require_below(place, [folder])
        base = f"{base}/{folder}"
    options = DownloadConfig(token=place.token)
    try:
        wanted = get_data_patterns(base, options) if patterns is None else sanitize_patterns(patterns)
    except EmptyDatasetError:
        return {}
    except ValueError as error:
        raise InputError(f"{place.name} names its files in a way that datasets rejects: {one_line(error)}") from error
    if patterns is not None:
        _require_below(place, [one for of_split in wanted.values() for one in of_split])
    found: dict[str, list[str]] = {}
    for split, of_split in wanted.items():  # the names are of a class of datasets
        files: dict[str, None] = {}
        for pattern in of_split:
            try:
                files |= dict.fromkeys(resolve_pattern(pattern, base, download_config=options))
            except FileNotFoundError:
                continue
        found[str(split)] = list(files)
    return {split: files for split, files in found.items() if files}


def _require_below(place: Place, patterns: Sequence[object]) -> None:
    """Refuses patterns of files outside the dataset, because a card is untrusted."""
    for pattern in patterns:
        text = str(pattern)
        if "::" in text or "://" in text or text.startswith(("/", "~", "\\")) or ".." in PurePosixPath(text).parts:
            raise InputError(
                f"The card of {place.name} refers to files elsewhere ({text[:200]!r}), but only its own files are "
                "read; download the dataset and change the patterns in the copy's README.md"
            )


def _of_one_kind(place: Place, config: str | None, found: Mapping[str, Sequence[str]]) -> Layout:
    kinds = {address: _kind_of(address) for files in found.values() for address in files}
    counts = Counter(kind for kind in kinds.values() if kind)
    if not counts:
        raise _no_sound(place, list(kinds))
    kind = max(counts, key=lambda one: (counts[one], one == PARQUET))
    files = {split: [one for one in of_split if kinds[one] == kind] for split, of_split in found.items()}
    metadata: dict[str, list[str]] = {}
    if kind == AUDIO_FILES:
        metadata = {split: _tables_of(place, of_split) for split, of_split in found.items()}
    used = {address for of_split in (*files.values(), *metadata.values()) for address in of_split}
    expected = {"README.md", ".gitattributes", "LICENSE"} | {place.shown(address) for address in used}
    others = [name for name in place.listed() if name not in expected]
    return Layout(kind, config, {split: of_split for split, of_split in files.items() if of_split}, metadata, others)


def _tables_of(place: Place, of_split: Sequence[str]) -> list[str]:
    """The metadata tables among a split's files, or else those in folders above, which may list several splits."""
    own = [one for one in of_split if PurePosixPath(one).name in METADATA_NAMES]
    if own:
        return own
    above = {parent.as_posix() for one in of_split for parent in PurePosixPath(place.shown(one)).parents}
    names = (PurePosixPath(name) for name in place.listed())
    tables = [one for one in names if one.name in METADATA_NAMES and one.parent.as_posix() in above]
    return [f"{place.root}/{one}" for one in tables]


def _kind_of(address: str) -> str | None:
    name = PurePosixPath(address)
    suffix = name.suffix.lower()
    if name.name in METADATA_NAMES:
        return None
    if suffix in AUDIO_SUFFIXES:
        return AUDIO_FILES
    return {".parquet": PARQUET, ".arrow": ARROW, ".tar": TAR}.get(suffix)


def _no_sound(place: Place, found: Sequence[str]) -> InputError:
    script = f"{place.name.rpartition('/')[2]}.py"
    if place.holds(script):
        return InputError(
            f"{place.name} is a dataset script ({script}), which datasets no longer supports: ask its authors for "
            "Parquet, or read the Hub's own copy with --dataset_revision refs/convert/parquet"
        )
    suffixes = Counter(PurePosixPath(one).suffix.lower() or "no suffix" for one in found or place.files)
    held = ", ".join(f"{count:,} {suffix}" for suffix, count in suffixes.most_common(5)) or "no files"
    return InputError(
        f"{place.name} is not an audio dataset (it has {held}); expected Parquet with an audio column, audio files "
        "with metadata.csv or class folders, WebDataset tars, or the output of save_to_disk"
    )


def _converted(place: Place, matches: Sequence[re.Match], config: str | None) -> Layout:
    configs: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for match in matches:
        configs[match["config"]][match["split"]].append(f"{place.root}/{match[0]}")
    if config and config not in configs:
        raise unknown_name(f"configuration of {place.name}", config, configs)
    if not config and len(configs) > 1 and "default" not in configs:
        raise InputError(
            f"{place.name} has {len(configs)} configurations ({', '.join(sorted(configs)[:12])}); choose one, e.g. "
            f"--dataset_config_name {min(configs)}"
        )
    config = config or ("default" if "default" in configs else next(iter(configs)))
    return Layout(PARQUET, config, dict(configs[config]), {}, [])


def _saved(place: Place, config: str | None) -> Layout:
    """The layout of save_to_disk: a folder of Arrow files, or one per split."""
    if config:
        raise InputError(
            f"--dataset_config_name {config}: {place.name} was saved to disk as one configuration; leave it out"
        )
    splits = [""]
    if place.holds(SAVED_SPLITS):
        splits = place.read_json(SAVED_SPLITS).get("splits")
        if not isinstance(splits, list) or not splits or not all(map(_is_name, splits)):
            raise InputError(f"{SAVED_SPLITS} of {place.name} lists no splits; save the dataset again")
    files = {split or "train": _saved_files(place, split) for split in splits}
    return Layout(ARROW, None, files, {}, [])


def _saved_files(place: Place, split: str) -> list[str]:
    state = place.read_json(f"{split}/{SAVED}".lstrip("/"))
    if state.get("_indices_files"):
        raise InputError(
            f"{place.name} was saved with a selection of its rows (indices); save it again after "
            "dataset.flatten_indices()"
        )
    listed = state.get("_data_files")
    names = [one.get("filename") if isinstance(one, dict) else None for one in listed or []]
    if not names or not all(map(_is_name, names)):
        raise InputError(f"{SAVED} of {place.name} lists no files in its own folder; save the dataset again")
    folder = f"{place.root}/{split}".rstrip("/")
    return [f"{folder}/{name}" for name in names]


def _is_name(name: object) -> bool:
    """Whether it is the plain name of a file or folder that does not lead elsewhere."""
    return (
        isinstance(name, str) and PurePosixPath(name).parts == (name,) and name not in ("", "..") and "\\" not in name
    )

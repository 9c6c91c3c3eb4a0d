"""Selects the files of a folder to publish: those that hf_audio writes, by name, and never the target of a link.

All other files stay on this machine: keys and logs, recordings, other runs, features under another license.
"""

from __future__ import annotations

import mmap
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from hf_audio.data.feature_format import INDEX, shard_names
from hf_audio.data.loading.training_digests import TRAINING_DATA
from hf_audio.errors import InputError, one_line
from hf_audio.files import read_json
from hf_audio.models.saving import LEADS_ELSEWHERE
from hf_audio.privacy import require_no_token
from hf_audio.publishing.handler import HANDLER, REQUIREMENTS, handlers, is_requirements
from hf_audio.terminal import named_logger

FEATURES = ("manifest.json", INDEX, "excluded.csv", "preprocessor_config.json")
FEATURES_CARD = ("README.md", "plots/class_distribution.png", "plots/windows.png")

WEIGHTS = r"model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json"
NETWORK = rf"config\.json|preprocessor_config\.json|{WEIGHTS}"
SCORES = "scores"  # uncompressed Parquet, so that the check for tokens can read it
BESIDE = (HANDLER, REQUIREMENTS, TRAINING_DATA)
MODEL = {  # per subfolder
    "": rf"{NETWORK}|model\.skops|README\.md|report\.json|{'|'.join(map(re.escape, BESIDE))}",
    SCORES: r"(clips|windows)\.parquet",
    "plots": r"(f1_per_class|confusion|roc_pr|training)\.png",
    "adapter": r"adapter_config\.json|adapter_model\.safetensors|README\.md",
    "network": NETWORK,
}
WITH_CODE = ("", "network")  # the code of models and extractors that transformers does not have
CODE_FOLDERS = [Path(__file__).parents[1] / name for name in ("models", "extractors")]
TEXTS = (".json", ".csv", ".md", ".py", ".txt")
# Files that run and feature folders normally contain and that are not published: warnings do not list them
EXPECTED_LOCAL = re.compile(
    r"features|checkpoints|tensorboard|wandb|training_args\.bin|config\.yaml|plan\.json|\.build|.*\.tmp"
)
MAX_NAMED = 20

logger = named_logger(__name__)


def shards_in(manifest: Mapping[str, Any]) -> list[str]:
    """Names of the data files of a feature dataset, from the manifest that `read_manifest` returned."""
    counts = {split: facts["num_shards"] for split, facts in manifest["splits"].items()}
    return sorted(f"data/{name}.parquet" for split, count in counts.items() for name in shard_names(split, count))


def features_in(folder: Path, manifest: Mapping[str, Any]) -> list[str]:
    """Names of the files of a feature dataset, relative to the repository.

    Raises:
        InputError: a required file is missing.
    """
    needed = [*FEATURES, *shards_in(manifest)]
    for name in needed:
        if not os.path.lexists(folder / name):
            raise InputError(f"{folder} is incomplete: {name} is missing. Download or build the features again")
    return sorted([*needed, *(name for name in FEATURES_CARD if os.path.lexists(folder / name))])


def model_in(folder: Path) -> list[str]:
    """Names of the model's files in a run folder."""
    names = []
    for below, pattern in MODEL.items():
        found = os.listdir(folder / below) if (folder / below).is_dir() else []
        code = _our_code() if below in WITH_CODE else {}
        names += [(Path(below) / name).as_posix() for name in found if re.fullmatch(pattern, name) or name in code]
    return sorted(names)


def check_all(folder: Path, names: Sequence[str]) -> None:
    """Checks all files before any other work starts; see `open_to_publish`."""
    for name in names:
        open_to_publish(folder, name).close()


def check_configs(folder: Path, names: Sequence[str]) -> None:
    """Checks that configs, at any nesting depth, refer to no code other than hf_audio's files in the same folder.

    Raises:
        InputError: a config refers to third-party code, kernels or weights.
    """
    for name in names:
        if Path(name).name in ("config.json", "preprocessor_config.json"):
            for key, value in _leading(read_json(folder / name)):
                code = value.split(".")[0] if key == "auto_map" and isinstance(value, str) else "-"
                if (Path(name).parent / f"{code}.py").as_posix() not in names:
                    raise InputError(
                        f"{folder / name} would make anyone who loads it run or load files that are not "
                        f"hf_audio's ({key} {value!r}): remove that entry, or save the model again"
                    )


def open_to_publish(folder: Path, name: str) -> BinaryIO:
    """Opens a file to be published and checks it, so that the file that is checked is the one that is read later.

    Raises:
        InputError: the file is a symbolic link, is reached through one, has hard links, is not a regular file,
            contains a token, or has the name of one of our code files but different content.
    """
    path = folder / name
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    if Path(os.path.realpath(path)) != Path(os.path.realpath(folder)) / name:
        raise InputError(
            f"{path} is a link, or is in a linked folder, so the target of the link would be published: replace the "
            "link with a copy, or remove it"
        )
    try:
        file = open(os.open(path, flags), "rb")  # noqa: SIM115 - the caller closes it
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or one_line(error)}") from error
    try:
        _check(file, path)
    except BaseException:
        file.close()
        raise
    return file


def name_what_stays(folder: Path, names: Sequence[str]) -> None:
    """Logs one line that lists the files of a folder that were not among the published `names`."""
    folders = {Path(name).parent.as_posix() for name in names}
    others = []
    for below in sorted(folders):
        for entry in sorted(os.scandir(folder / below), key=lambda entry: entry.name):
            name = (Path(below) / entry.name).as_posix()
            if name not in {*names, *folders} and not EXPECTED_LOCAL.fullmatch(entry.name):
                others.append(f"{name}/" if entry.is_dir(follow_symlinks=False) else name)
    if others:
        more = f" and {len(others) - MAX_NAMED} more" if len(others) > MAX_NAMED else ""
        listed = ", ".join(others[:MAX_NAMED])
        logger.warning(
            "Not published, because hf_audio did not write them or only needs them locally: %s%s", listed, more
        )


def _check(file: BinaryIO, path: Path) -> None:
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path} is not a regular file (it is a folder, pipe or device): remove it")
    if status.st_nlink > 1:
        raise InputError(
            f"{path} is a hard link, so a file from elsewhere would be published: replace the link with a copy"
        )
    # tables are not compressed, so a token in one of their texts is found
    is_plain = path.suffix in TEXTS or path.name in (INDEX, TRAINING_DATA) or path.parent.name == SCORES
    if is_plain and status.st_size:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            require_no_token(content, str(path))
            if path.suffix == ".py" and content[:] not in _our_code().get(path.name, ()):
                raise InputError(
                    f"{path} is not the {path.name} of this version of hf_audio, so unknown code would be published: "
                    "save the model again, with the same command or with save_pretrained"
                )
            if path.name == REQUIREMENTS and not is_requirements(content[:]):
                raise InputError(
                    f"{path} lists packages that hf_audio does not need, and anyone who deploys the model would "
                    "install them: write the card again, or remove the file"
                )


def _leading(content: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yields (key, value) of each JSON entry that refers to other code or files; for an `auto_map`, one per class."""
    if isinstance(content, dict):
        for name, value in content.items():
            yield from _leading(value, key or (name if name in LEADS_ELSEWHERE else ""))
    elif isinstance(content, list):
        for value in content:
            yield from _leading(value, key)
    elif key and content:
        yield key, content


def _our_code() -> dict[str, set[bytes]]:
    """The allowed contents of the code files of our models and extractors, by file name."""
    paths = [path for folder in CODE_FOLDERS for path in folder.glob("*.py") if not path.name.startswith("__")]
    return {HANDLER: handlers()} | {path.name: {path.read_bytes()} for path in paths}

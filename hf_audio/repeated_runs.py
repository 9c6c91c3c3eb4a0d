"""Runs a recipe several times for a script. Each run is done once, and the facts it depends on are stored."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import re
import runpy
import subprocess
import sys
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
from accelerate.commands.config.config_args import default_config_file

from hf_audio import __version__, finished_work
from hf_audio.config import Recipe
from hf_audio.config.run import NETWORK_GROUPS, RECORDING_GROUPS
from hf_audio.config.setting import HUB_OR_PATH, NAMES, PATH
from hf_audio.data.index.columns import digest
from hf_audio.data.index.table import metadata_columns
from hf_audio.data.tables import read_table
from hf_audio.errors import InputError, one_line
from hf_audio.files import MAX_TEXT_BYTES, open_for_writing, open_regular, read_json, read_whole
from hf_audio.finished_work import claim, digest_of_files, digest_of_folder
from hf_audio.parsing import parse_recipe
from hf_audio.preparation.read_corpora import read_corpus
from hf_audio.preparation.sources import kinds_and_commits
from hf_audio.training.argument_roles import BATCH_ARGUMENTS, DECISIVE_ARGUMENTS

GROUPS = (*RECORDING_GROUPS, *NETWORK_GROUPS, "hub", "pretraining", "classical")
# Settings that scores do not depend on: locations, speed, visibility
INDECISIVE = {"features_dir", "num_workers", "streaming", "hub_dataset_id", "public_license", "license"}
MAX_NAME_CHARS = 100
# Defaults of accelerate's launcher without a config file, passed explicitly to avoid a warning for each run
LAUNCHER_DEFAULTS = ("--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no")
LOG_TAIL_BYTES = 1 << 16  # the end of a log, which shows why a run failed


class RepeatedRuns:
    """A recipe with the flags that all its runs share.

    Args:
        recipe: path of the recipe.
        flags: flags of all runs, as on its command line.
        config_file: config of accelerate; without one a run is a single process.
        logs: write the output of a run to FOLDER.log beside its folder, and quote the reason for a failure from it.

    Raises:
        InputError: the errors of parse_recipe.
    """

    def __init__(
        self, recipe: str, flags: Sequence[str], config_file: str | None = None, *, logs: bool = False
    ) -> None:
        self.recipe, self.flags, self.config_file, self.logs = recipe, list(flags), config_file, logs
        self.values = runpy.run_path(recipe, run_name="read")
        self.settings = self.parsed([])
        self._pin_commits()

    @cached_property
    def clips(self) -> pa.Table:
        """The index of the corpus."""
        return read_corpus(self.settings.data, self.settings.token).clips

    def _pin_commits(self) -> None:
        """Makes all runs read the same commits of datasets on the Hub, which may change in the meantime."""
        corpus = self.settings.corpus
        if corpus.dataset is None or corpus.dataset_revision or self.settings.stored_features:
            return
        _, commits = kinds_and_commits(corpus, self.settings.token)
        if all(commits):
            self.flags += ["--dataset_revision", *commits]
            self.settings = self.parsed([])

    def report(self, what: str, folder: Path, flags: Sequence[str]) -> dict[str, Any]:
        """The report of one run, which is reused if it had the same settings, clips and files.

        Args:
            what: name of the run in messages.
            folder: folder of the run.
            flags: flags of only this run.

        Raises:
            InputError: the folder contains another or an unknown run, or the run failed.
        """
        written = self.claimed(folder, flags)
        if not written.exists():
            self._run(what, folder, flags)
        return read_json(written)

    def claimed(self, folder: Path, flags: Sequence[str]) -> Path:
        """Claims a folder for one run, and returns the path of its report, which may not exist yet.

        Raises:
            InputError: the folder contains another or an unknown run.
        """
        folder.parent.mkdir(parents=True, exist_ok=True)
        facts, written = folder.with_name(f"{folder.name}.json"), folder / "report.json"
        otherwise = f"give another --output_dir, or remove {folder} and {facts.name} to run it again"
        if written.exists() and not facts.exists():
            raise InputError(f"{written} exists, but {facts.name} with the facts about its run does not; {otherwise}")
        claim(facts, f"{folder} holds another run, which", self.decides(flags), otherwise)
        return written

    def decides(self, flags: Sequence[str]) -> dict[str, Any]:
        """Everything that the scores of a run depend on, as facts to compare."""
        settings = self.parsed(flags)
        pseudo = settings.data.pseudo_labels and _recordings_of(settings)
        processes = "one" if self.config_file is None else _hash(self.config_file)
        return {
            **_all_settings(settings),
            **self._corpora,
            **({"recordings of pseudo-labels": pseudo} if pseudo else {}),
            "recipe": Path(self.recipe).name,
            "recipe's text": _hash(self.recipe),
            "hf_audio": __version__,
            "processes": processes,
        }

    def decides_features(self, flags: Sequence[str]) -> str:
        """A hash of all settings that features depend on: runs with the same hash can share them."""
        found = _settings(self.parsed(flags), tuple(RECORDING_GROUPS))
        found.pop("train_fraction", None)  # drawn from built features
        return finished_work.digest([found])[:12]

    @cached_property
    def _corpora(self) -> dict[str, str]:
        """Facts about the clips of the recipe's corpus and of its negatives, before they are split."""
        facts, data = described_clips(self.clips), self.settings.data
        if data.negatives:
            others = dataclasses.replace(type(data)(), corpus=data.negatives, data_dir=data.negatives_dir)
            more = described_clips(read_corpus(others).clips)
            facts |= {f"{name} of negatives": value for name, value in more.items()}
        return facts

    def parsed(self, flags: Sequence[str]) -> Recipe:
        """The settings of one run; raises the errors of parse_recipe."""
        return parse_recipe(self.values["VALUES"], self.values.get("DEMO"), argv=[*self.flags, *flags])

    def command(self, folder: Path, flags: Sequence[str]) -> list[str]:
        """The command of one run, with accelerate's launcher."""
        how = ["--config_file", self.config_file] if self.config_file else ["--num_processes", "1"]
        if not self._has_config:
            how += LAUNCHER_DEFAULTS
        command = [sys.executable, "-m", "accelerate.commands.launch", "--quiet", *how, self.recipe]
        return [*command, *self.flags, "--output_dir", str(folder), *flags]

    def quick_command(self, folder: Path, flags: Sequence[str]) -> list[str]:
        """The same command, without the launcher if one process does not need it: the launcher takes 2 s to start."""
        if self._has_config:
            return self.command(folder, flags)
        return [sys.executable, self.recipe, *self.flags, "--output_dir", str(folder), *flags]

    @property
    def _has_config(self) -> bool:
        """Whether accelerate's launcher has a config file: a given one, or the user's own."""
        return bool(self.config_file) or Path(default_config_file).exists()

    def _run(self, what: str, folder: Path, flags: Sequence[str]) -> None:
        command = self.command(folder, flags)
        if not self.logs:
            if subprocess.run(command, check=False).returncode:
                raise InputError(
                    f"{what} failed, see above: run the same command again to resume; finished runs are reused"
                )
            return
        log = folder.with_name(f"{folder.name}.log")
        log.unlink(missing_ok=True)
        with open_for_writing(log, "xb") as file:
            failed = subprocess.run(command, check=False, stdout=file, stderr=subprocess.STDOUT).returncode
        if failed:
            raise InputError(f"{what} failed: {last_words(log)} ({log.name})")


def parse_with_recipe_flags(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The arguments of a script: its own options, `recipe_flags` (those after `--`), and `data_flags`, its --data_dir
    as flags of the recipe.

    Raises:
        InputError: a flag that the script does not have.
    """
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    options, unknown = parser.parse_known_args(sys.argv[1:end])
    if unknown:
        flags = " ".join(unknown)
        raise InputError(f"{parser.prog} has no {flags}: put flags of the recipe last, after --, as in -- {flags}")
    options.recipe_flags = sys.argv[end + 1 :]
    options.data_flags = ["--data_dir", options.data_dir] if options.data_dir else []
    return options


def as_words(flags: Mapping[str, Any]) -> list[str]:
    """Flags as the words of a command line."""
    found: list[str] = []
    for name, value in flags.items():
        if isinstance(value, list):
            found += [f"--{name}", *map(str, value)]
        else:  # one word, since a value may look like a flag
            found.append(f"--{name}={_word(value)}")
    return found


def _word(value: Any) -> str:
    if isinstance(value, Mapping):
        return json.dumps(value, ensure_ascii=False)
    return str(value).lower() if isinstance(value, bool) else str(value)


def described_clips(clips: pa.Table) -> dict[str, str]:
    """The facts of an index that results depend on, by names that users know."""
    parts = {
        "clips": ("clip_id", "start_s", "end_s"),
        "labels": ("labels", "unknown"),
        "groups": ("group",),
        "official splits": ("split",),
        "metadata of clips": tuple(metadata_columns(clips)),
    }
    found = {
        name: finished_work.digest([one, digest(clips[one])] for one in columns) for name, columns in parts.items()
    }
    addresses = clips["audio"].unique().to_pylist()
    on_hub = [address for address in addresses if address.startswith("hf://")]  # at a commit, so they never change
    files = digest_of_files(address for address in addresses if not address.startswith("hf://"))
    return {**found, "recordings": finished_work.digest([*on_hub, files])}


def _recordings_of(recipe: Recipe) -> str:
    """A digest of the pseudo-labeled recordings."""
    data = recipe.data
    _, rows = read_table(Path(data.pseudo_labels), required=("path",))
    return digest_of_files(Path(data.pseudo_labels_dir) / row["path"] for _, row in rows)


def folder_names(names: Sequence[str]) -> list[str]:
    """A folder name for each name. Names that would share a folder get a hash."""
    plain = [re.sub(r"[^\w.-]+|^\.+", "_", name)[:MAX_NAME_CHARS] or "_" for name in names]
    shared = {name for name, count in Counter(name.casefold() for name in plain).items() if count > 1}
    return [
        f"{below}-{hashlib.sha256(name.encode()).hexdigest()[:8]}" if below.casefold() in shared else below
        for name, below in zip(names, plain, strict=True)
    ]


def last_words(log: Path) -> str:
    """Why a run failed, from its log: the last error message, or else the last line."""
    with open_regular(log) as file:
        file.seek(max(0, log.stat().st_size - LOG_TAIL_BYTES))
        text = file.read().decode(errors="replace")
    lines = [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]
    own = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return one_line((own or lines or ["it printed nothing"])[-1])


def _all_settings(recipe: Recipe) -> dict[str, Any]:
    """The settings that results depend on; files and folders of this machine are represented by their content."""
    arguments = (*DECISIVE_ARGUMENTS, *BATCH_ARGUMENTS)
    return {name: getattr(recipe.training, name, None) for name in arguments} | _settings(recipe, GROUPS)


def _settings(recipe: Recipe, groups: Collection[str]) -> dict[str, Any]:
    decides = {}
    for group in groups:
        settings = getattr(recipe, group)
        for field in dataclasses.fields(settings) if settings is not None else ():
            if field.name not in INDECISIVE:
                decides[field.name] = _content(getattr(settings, field.name), NAMES.get(field))
    return decides


def _content(value: Any, named: str | None) -> Any:
    """A setting in the form that is compared. A folder of recordings is compared by its path; its clips are compared
    separately."""
    if isinstance(value, list) and named in (PATH, HUB_OR_PATH):
        return [_content(one, named) for one in value]
    if not value or named not in (PATH, HUB_OR_PATH):
        return value
    path = Path(value).expanduser()
    if named == HUB_OR_PATH:
        return digest_of_folder(path) if path.is_dir() else value
    if path.suffix in (".csv", ".yaml", ".yml") and path.is_file():
        return _hash(path)
    return str(path.resolve()) if path.exists() else value  # some settings accept a name instead of a file


def _hash(path: str | Path) -> str:
    return hashlib.sha256(read_whole(path, MAX_TEXT_BYTES)).hexdigest()

"""What is trained on: corpus, splits and their building. Each group checks its own values."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hf_audio.config.setting import HUB_OR_PATH, PATH, setting
from hf_audio.errors import InputError

SPLIT_KINDS = ("official", "random")
# settings of which there may be several, one for each corpus
SEVERAL = ("corpus", "data_dir", "dataset", "dataset_revision")
if TYPE_CHECKING:
    Several = Any  # one alone is kept as a text, see `__post_init__`
else:
    Several = list[str] | None


@dataclass
class CorpusConfig:
    """Where the recordings come from, how they are read, and what of them is used."""

    _argument_group_name = "corpus"

    # Of these four several may be given; a single one is no list.
    corpus: Several = setting(
        None,
        "Corpus module that reads the recordings, or several whose classes are joined; a wrong name lists them all. "
        "Default: corpus=folder, your own.",
    )
    data_dir: Several = setting(
        None,
        "Folder with the recordings, one for each corpus. For corpus=folder: class folders, a table with path and "
        "label(s), or a dataset that was saved to disk.",
        PATH,
    )
    dataset: Several = setting(
        None,
        "Dataset to train on: a Hub name (USER/NAME) or a folder, with an audio column or audio files, or with the "
        "features that were built here. Several are joined.",
        HUB_OR_PATH,
    )
    dataset_revision: Several = setting(
        None,
        "Branch, tag or commit of --dataset on the Hub, one for each. Default: its newest commit, which the report "
        "names.",
    )
    label_map: str | None = setting(
        None,
        "YAML file with other names for classes (cello: strings; null leaves a class out), for all corpora or for one.",
        PATH,
    )
    dataset_config_name: str | None = setting(None, "Configuration of --dataset, where it has several.")
    train_split_name: str | None = setting(None, "Split of --dataset to train on. Default: train, or the only one.")
    eval_split_name: str | None = setting(
        None, "Split of --dataset to validate on. Default: validation, valid, dev ...; else it is drawn."
    )
    test_split_name: str | None = setting(None, "Split of --dataset to test on. Default: test, eval ...; else drawn.")
    layout: str | None = setting(
        None, "For corpus=folder with class folders and a table: folders or table says which is read. Default: decided."
    )
    audio_column_name: str | None = setting(
        None,
        "Column of your dataset that holds the sound, or of your table that names the files. Default: by its type; "
        "path, filename, file ..., by what is found there.",
    )
    label_column_name: list[str] | None = setting(
        None,
        "Column of your dataset or table that holds the class; several are a class each, with 0 or 1. Default: label, "
        "category, genre ... (one class per row), labels, tags ... (several).",
    )
    label_separator: str | None = setting(
        None, "What stands between several labels in a cell of your table; none: a cell is one name, commas and all."
    )
    mask_column_name: str | None = setting(
        None,
        "Column of your dataset with 1 for each class that is known in a row and 0 for each of which nothing is known. "
        "Default: mask, if it holds lists; none: none.",
    )
    group_column_name: str | None = setting(
        None,
        "Column of your dataset or table that says what belongs together (speaker, song, session ...) and must not be "
        "in two splits; none: every recording is by itself. Default: group; of a dataset speaker_id, artist ... too.",
    )
    split_column_name: str | None = setting(
        None,
        "Column of your dataset or table with train, validation, test, or with folds; none: none. Default: split, fold "
        "...",
    )
    merge_classes: bool = setting(
        False, "For corpus=folder: make one class of names that differ in case, spaces or Unicode form only (Dog, dog)."
    )
    label_overrides: str | None = setting(
        None, "CSV with clip_id and label(s): what these clips really are, e.g. of hf-audio label-errors.", PATH
    )
    negatives: str | None = setting(
        None,
        "Another corpus whose clips have none of the classes, for training: esc50, so that noise is no instrument.",
    )
    negatives_dir: str | None = setting(None, "Folder with the recordings of --negatives.", PATH)
    pseudo_labels: str | None = setting(
        None,
        "Table of scripts/self_train.py: recordings for training whose labels are what models said of them. Networks "
        "learn the probabilities, classical models the likeliest class.",
        PATH,
    )
    pseudo_labels_dir: str | None = setting(None, "Folder with the recordings of --pseudo_labels.", PATH)
    several_labels: bool = setting(
        False, "Let several classes apply to a clip although none here has several: for mixtures and negatives."
    )
    clip_s: float | None = setting(None, "Use only the first so many seconds of each clip. Default: all of it.")

    def __post_init__(self) -> None:
        for name in SEVERAL:
            given = getattr(self, name)
            if isinstance(given, list) and len(given) == 1:
                setattr(self, name, given[0])
        self.corpus = self.corpus or "folder"
        self._check_counts()
        if self.clip_s is not None and not self.clip_s > 0:
            raise InputError(f"--clip_s must be above 0, found {self.clip_s:g}; leave it out to use all of each clip")
        if self.dataset_revision and not self.dataset:
            raise InputError(
                f"--dataset_revision {self.dataset_revision} was given without --dataset; add its name, USER/NAME"
            )
        if self.negatives_dir and not self.negatives:
            raise InputError(
                f"--negatives_dir {self.negatives_dir} was given without --negatives; add the name of the corpus that "
                "lies there, e.g. --negatives esc50"
            )
        if bool(self.pseudo_labels) != bool(self.pseudo_labels_dir):
            raise InputError("--pseudo_labels TABLE and --pseudo_labels_dir FOLDER belong together: give both, or none")
        if self.negatives and self.negatives == self.corpus and self.negatives_dir in (None, self.data_dir):
            raise InputError(
                f"--negatives {self.negatives} is the corpus that is trained on, whose clips have classes; name one "
                "whose clips have none of them, e.g. --negatives esc50"
            )

    @property
    def num_corpora(self) -> int:
        """How many corpora are joined; usually it is one."""
        return max([len(one) for name in SEVERAL if isinstance(one := getattr(self, name), list)], default=1)

    def _check_counts(self) -> None:
        """Refuses lists that do not belong together."""
        lists = {name: one for name in SEVERAL if isinstance(one := getattr(self, name), list)}
        counts = {len(one) for one in lists.values()}
        singles = [name for name in ("data_dir", "dataset", "dataset_revision") if isinstance(getattr(self, name), str)]
        alone = [name for name in singles if lists]
        if len(counts) > 1 or alone:
            told = [f"--{name} {' '.join(one)}" for name, one in lists.items()]
            told += [f"--{name} {getattr(self, name)}" for name in alone]
            raise InputError(
                f"{', '.join(told)} do not belong together, expected as many of each, in the same order: name every "
                "corpus, or give one of them alone"
            )
        self._check_apart(lists)

    def _check_apart(self, lists: dict[str, list[str]]) -> None:
        """Refuses a corpus that is joined with itself: its recordings would be heard twice, and tested on twice."""
        corpora: set[tuple[str, ...]] = set()
        for one in zip(*lists.values(), strict=True):
            places = dict(zip(lists, one, strict=True))
            if places.get("data_dir"):
                places["data_dir"] = os.path.realpath(os.path.expanduser(places["data_dir"]))
            if tuple(places.values()) in corpora:
                told = " ".join(f"--{name} {value}" for name, value in zip(lists, one, strict=True))
                raise InputError(f"{told} is there twice, and its recordings would be too: name each corpus once")
            corpora.add(tuple(places.values()))


@dataclass
class SplitConfig:
    """What is tested, validated and trained on."""

    _argument_group_name = "split"

    split: str = setting(
        "official", "official: the corpus's own, where it has one. random: by groups only; scores are then others."
    )
    fold: str | None = setting(
        None,
        "Test on this fold (official, e.g. a value of the table's split column; or of --num_folds), train on others.",
    )
    num_folds: int | None = setting(
        None, "Draw so many folds by groups where the corpus has none; test on --fold 1 ..."
    )
    test_groups: list[str] | None = setting(None, "Test on these groups (speakers, songs ...), train on the others.")
    inner_folds: int | None = setting(
        None, "Leave out what would be tested on, and draw so many folds of the training groups, to choose settings by."
    )
    inner_fold: int | None = setting(None, "The one of --inner_folds to test on, from 1.")
    test_fraction: float = setting(0.15, "Share of the groups to test on where the corpus has no official test split.")
    validation_fraction: float = setting(0.15, "Share of the groups to validate on where there is no such split.")
    validation_from: str = setting("train", "Split that --validation_fraction is drawn from: train or test.")
    test_to_train: float = setting(0.0, "Share of the test groups (whole songs) to train on instead; 0 is none.")
    split_seed: int = setting(0, "Seed of the split.")
    train_fraction: float = setting(1.0, "Share of the training groups to train on; every class keeps at least a clip.")

    def __post_init__(self) -> None:
        if self.split not in SPLIT_KINDS:
            raise InputError(f"--split {self.split} is unknown; expected {' or '.join(SPLIT_KINDS)}")
        if self.split == "random" and self.fold and not self.num_folds:
            raise InputError(
                f"--fold {self.fold} is an official fold: leave it out, leave out --split random, or add --num_folds 5 "
                "to draw five others"
            )
        if (self.inner_folds is None) != (self.inner_fold is None):
            raise InputError(
                "--inner_folds and --inner_fold go together: give both, or scripts/cross_validate.py --inner 3"
            )
        if self.inner_folds is not None and not 1 <= self.inner_fold <= self.inner_folds >= 2:
            raise InputError(
                f"--inner_folds must be 2 or more and --inner_fold one of them, found {self.inner_folds} and "
                f"{self.inner_fold}: try --inner_folds 3 --inner_fold 1"
            )
        for name in ("test_fraction", "validation_fraction", "test_to_train"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"--{name} must be at least 0 and below 1, found {getattr(self, name):g}: try 0.15")
        if not 0 < self.train_fraction <= 1:
            raise InputError(f"--train_fraction must be above 0 and at most 1, found {self.train_fraction:g}: try 0.05")
        if self.split_seed < 0:
            raise InputError(f"--split_seed must be 0 or more, found {self.split_seed}")

    @property
    def inner(self) -> tuple[int, int] | None:
        """(fold, folds) of --inner_fold and --inner_folds."""
        return None if self.inner_folds is None else (self.inner_fold, self.inner_folds)


@dataclass
class BuildConfig:
    """Where and how features are built."""

    _argument_group_name = "building"

    features_dir: str | None = setting(None, "Where features are built. Default: <output_dir>/features.", PATH)
    num_workers: int | None = setting(None, "Processes that build features. Default: all cores this process may use.")
    strict: bool = setting(False, "Stop at the first unreadable, silent or too short file instead of leaving it out.")

    def __post_init__(self) -> None:
        if self.num_workers is not None and self.num_workers < 1:
            raise InputError(
                f"--num_workers must be 1 or more, found {self.num_workers}; leave it out to use all cores"
            )


@dataclass
class DataConfig(CorpusConfig, SplitConfig, BuildConfig):
    """All that is said of recordings, of which clips and features are made."""

    _argument_group_name = "data"

    def __post_init__(self) -> None:
        for group in (CorpusConfig, SplitConfig, BuildConfig):
            group.__post_init__(self)

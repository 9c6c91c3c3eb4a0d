"""The data: corpus, splits, and how features are built. Each group checks its own values."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from hf_audio.config.setting import HUB_OR_PATH, PATH, require_choices, setting
from hf_audio.errors import InputError

# settings that may have several values, one per corpus
SEVERAL = ("corpus", "data_dir", "dataset", "dataset_revision")
if TYPE_CHECKING:
    Several = Any  # a single value is stored as a string, see `__post_init__`
else:
    Several = list[str] | None


@dataclass
class CorpusConfig:
    """Where the recordings come from, how they are read, and which part of them is used."""

    _argument_group_name = "corpus"

    # These four accept several values; a single value is stored as a string.
    corpus: Several = setting(
        None,
        "Corpus: folder (your own recordings, the default), or a public corpus such as irmas or esc50; "
        "`hf-audio corpora --list` shows all. Several corpora are joined.",
    )
    data_dir: Several = setting(
        None,
        "Folder with the recordings, one per --corpus. For your own recordings: one subfolder per class, a table with "
        "the columns path and label (or labels), or a dataset saved to disk.",
        PATH,
    )
    dataset: Several = setting(
        None,
        "Instead of --data_dir: a dataset on the Hub (USER/NAME) or in a folder, with recordings or with features "
        "built by hf_audio. Several datasets of recordings are joined.",
        HUB_OR_PATH,
    )
    dataset_revision: Several = setting(
        None,
        "Branch, tag or commit of --dataset on the Hub, one per dataset. Default: the latest commit, which the report "
        "records.",
    )
    label_map: str | None = setting(
        None,
        "YAML file that renames classes (cello: strings) or leaves them out (cello: null), for all corpora or one.",
        PATH,
    )
    dataset_config_name: str | None = setting(None, "Configuration of --dataset, if it has several.")
    train_split_name: str | None = setting(None, "Split of --dataset to train on. Default: train, or the only split.")
    eval_split_name: str | None = setting(
        None,
        "Split of --dataset to validate on. Default: validation, valid or dev; if there is none, a random "
        "--validation_fraction.",
    )
    test_split_name: str | None = setting(
        None, "Split of --dataset to test on. Default: test or eval; if there is none, a random --test_fraction."
    )
    layout: Literal["folders", "table"] | None = setting(
        None,
        "What to read if --data_dir contains both class folders and a table. Default: the one that fits; if both "
        "fit, an error.",
    )
    audio_column_name: str | None = setting(
        None,
        "Column with the audio (dataset) or the file paths (table). Default: found by its type, or by names such as "
        "path, filename and file.",
    )
    label_column_name: list[str] | None = setting(
        None,
        "Column with the label. Several columns: one per class, each with 0 or 1. Default: label, category or genre "
        "(one class per row), or labels or tags (several).",
    )
    label_separator: str | None = setting(
        None,
        "Character between the labels in a table cell; none: each cell is one label, whatever it contains.",
    )
    mask_column_name: str | None = setting(
        None,
        "Label mask: column with one list per row, 1 for each class whose label is known and 0 for the others; none: "
        "all labels are known. Default: mask, if it holds lists.",
    )
    group_column_name: str | None = setting(
        None,
        "Column with the group of each recording (speaker, song, session), which stays in one split; none: each "
        "recording is its own group. Default: group; in a dataset also speaker_id, artist and similar names.",
    )
    split_column_name: str | None = setting(
        None, "Column with train, validation and test, or with names of folds; none: ignore it. Default: split or fold."
    )
    merge_classes: bool = setting(
        False,
        "For your own recordings: merge classes whose names differ only in case, spaces or Unicode form (Dog, dog).",
    )
    label_overrides: str | None = setting(
        None,
        "CSV file with corrected labels, columns clip_id and label (or labels), e.g. from hf-audio label-errors.",
        PATH,
    )
    negatives: str | None = setting(
        None,
        "Another corpus whose clips have none of the classes, added to training: e.g. esc50, so that noise is not "
        "mistaken for an instrument.",
    )
    negatives_dir: str | None = setting(None, "Folder with the recordings of --negatives.", PATH)
    pseudo_labels: str | None = setting(
        None,
        "Table from scripts/self_train.py: unlabeled recordings with labels predicted by models, added to training. "
        "Networks learn the probabilities, classical models the most likely class.",
        PATH,
    )
    pseudo_labels_dir: str | None = setting(None, "Folder with the recordings of --pseudo_labels.", PATH)
    several_labels: bool = setting(
        False, "Train a multi-label model even if no clip has more than one label: for mixtures and negatives."
    )
    clip_s: float | None = setting(
        None, "Use only this many seconds from the start of each clip. Default: the whole clip."
    )

    def __post_init__(self) -> None:
        require_choices(self)
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
                f"--dataset_revision {self.dataset_revision} was given without --dataset; add --dataset USER/NAME"
            )
        if self.negatives_dir and not self.negatives:
            raise InputError(
                f"--negatives_dir {self.negatives_dir} was given without --negatives; add the name of the corpus in "
                "that folder, e.g. --negatives esc50"
            )
        if bool(self.pseudo_labels) != bool(self.pseudo_labels_dir):
            raise InputError(
                "--pseudo_labels TABLE and --pseudo_labels_dir FOLDER belong together: give both or neither"
            )
        if self.negatives and self.negatives == self.corpus and self.negatives_dir in (None, self.data_dir):
            raise InputError(
                f"--negatives {self.negatives} is the training corpus itself, whose clips have these classes; name a "
                "corpus whose clips have none of them, e.g. --negatives esc50"
            )

    @property
    def num_corpora(self) -> int:
        """Number of corpora that are joined, usually one."""
        return max([len(one) for name in SEVERAL if isinstance(one := getattr(self, name), list)], default=1)

    def _check_counts(self) -> None:
        """Refuses lists of different lengths."""
        lists = {name: one for name in SEVERAL if isinstance(one := getattr(self, name), list)}
        counts = {len(one) for one in lists.values()}
        singles = [name for name in ("data_dir", "dataset", "dataset_revision") if isinstance(getattr(self, name), str)]
        alone = [name for name in singles if lists]
        if len(counts) > 1 or alone:
            told = [f"--{name} {' '.join(one)}" for name, one in lists.items()]
            told += [f"--{name} {getattr(self, name)}" for name in alone]
            raise InputError(
                f"{', '.join(told)} do not match, expected the same number of each, in the same order: name every "
                "corpus, or give only one"
            )
        self._check_apart(lists)

    def _check_apart(self, lists: dict[str, list[str]]) -> None:
        """Refuses to join a corpus with itself: each of its recordings would be in the data twice."""
        corpora: set[tuple[str, ...]] = set()
        for one in zip(*lists.values(), strict=True):
            places = dict(zip(lists, one, strict=True))
            if places.get("data_dir"):
                places["data_dir"] = os.path.realpath(os.path.expanduser(places["data_dir"]))
            if tuple(places.values()) in corpora:
                told = " ".join(f"--{name} {value}" for name, value in zip(lists, one, strict=True))
                raise InputError(f"{told} is given twice, so its recordings would be used twice: name each corpus once")
            corpora.add(tuple(places.values()))


@dataclass
class SplitConfig:
    """Which part of the data is for training, validation and test."""

    _argument_group_name = "split"

    split: Literal["official", "random"] = setting(
        "official",
        "official: the corpus's own split, if it has one. random: a new split by groups, whose scores are not "
        "comparable with published ones.",
    )
    fold: str | None = setting(
        None,
        "Test on this fold and train on the others: an official fold, a value of the table's split column, or one of "
        "--num_folds.",
    )
    num_folds: int | None = setting(
        None, "If the corpus has no folds: split its groups into this many random ones; test on --fold 1, 2, ..."
    )
    test_groups: list[str] | None = setting(None, "Test on these groups (speakers, songs), and train on the others.")
    inner_folds: int | None = setting(
        None, "For tuning settings: ignore the test split, and split the training groups into this many folds."
    )
    inner_fold: int | None = setting(None, "Which of --inner_folds to test on, from 1.")
    test_fraction: float = setting(0.15, "Share of the groups to test on, if there is no test split.")
    validation_fraction: float = setting(
        0.15, "Share of the groups to validate on, if there is no validation split; 0: none."
    )
    validation_from: Literal["train", "test"] = setting("train", "Split that --validation_fraction is taken from.")
    test_to_train: float = setting(0.0, "Share of the test groups to train on instead of testing on them; 0 is off.")
    split_seed: int = setting(0, "Random seed of the split.")
    train_fraction: float = setting(
        1.0,
        "Share of the training groups to train on, to measure the effect of fewer labels. Each class keeps at least "
        "one clip.",
    )

    def __post_init__(self) -> None:
        require_choices(self)
        if self.split == "random" and self.fold and not self.num_folds:
            raise InputError(
                f"--fold {self.fold} is an official fold: leave it out, leave out --split random, or add --num_folds 5 "
                "to draw five new ones"
            )
        if (self.inner_folds is None) != (self.inner_fold is None):
            raise InputError(
                "--inner_folds and --inner_fold go together: give both, or use scripts/cross_validate.py --inner 3"
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
        """(--inner_fold, --inner_folds), or None."""
        return None if self.inner_folds is None else (self.inner_fold, self.inner_folds)


@dataclass
class BuildConfig:
    """Where and how features are built."""

    _argument_group_name = "building"

    features_dir: str | None = setting(None, "Folder for the features. Default: OUTPUT_DIR/features.", PATH)
    num_workers: int | None = setting(None, "Processes that build features. Default: one per core.")
    strict: bool = setting(
        False,
        "Stop at the first file that is unreadable, silent or too short, instead of leaving it out and listing it in "
        "excluded.csv.",
    )

    def __post_init__(self) -> None:
        if self.num_workers is not None and self.num_workers < 1:
            raise InputError(
                f"--num_workers must be 1 or more, found {self.num_workers}; leave it out to use all cores"
            )


@dataclass
class DataConfig(CorpusConfig, SplitConfig, BuildConfig):
    """All settings of the recordings, and of the clips and features derived from them."""

    _argument_group_name = "data"

    def __post_init__(self) -> None:
        for group in (CorpusConfig, SplitConfig, BuildConfig):
            group.__post_init__(self)

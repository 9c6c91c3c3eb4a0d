"""The user's settings for reading a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

NONE = "none"


@dataclass(frozen=True)
class DatasetReading:
    """The settings with the same names as flags; all are optional, because most datasets are unambiguous.

    Attributes:
        dataset_config_name: the configuration, if a dataset has several.
        audio_column_name, group_column_name, split_column_name, mask_column_name: columns with these meanings; for
            groups, splits and masks, "none" uses no column.
        label_column_name: the column of classes; several are columns of 0 and 1, one per class.
        label_separator: separator between several labels in a string; "none" reads a string as one name.
        train_split_name, eval_split_name, test_split_name: splits to train, validate and test on.
    """

    dataset_config_name: str | None = None
    audio_column_name: str | None = None
    label_column_name: Sequence[str] | None = None
    group_column_name: str | None = None
    split_column_name: str | None = None
    mask_column_name: str | None = None
    label_separator: str | None = None
    train_split_name: str | None = None
    eval_split_name: str | None = None
    test_split_name: str | None = None

    @property
    def split_names(self) -> dict[str, str]:
        """The splits that the user chose: {ours: the dataset's}."""
        named = {"train": self.train_split_name, "validation": self.eval_split_name, "test": self.test_split_name}
        return {split: name for split, name in named.items() if name}

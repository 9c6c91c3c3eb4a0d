"""What the user says of how a dataset is to be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

NONE = "none"


@dataclass(frozen=True)
class DatasetReading:
    """Settings of the same names; all are optional, for most datasets say it themselves.

    Attributes:
        dataset_config_name: the configuration, where a dataset has several.
        audio_column_name, group_column_name, split_column_name, mask_column_name: columns of these meanings; "none" is
            no column, for groups, splits and masks.
        label_column_name: the column of classes; several are columns of 0 and 1, one for each class.
        label_separator: what stands between several labels of a text; "none" takes a text as one name.
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
        """The splits that the user names: ours, and theirs."""
        named = {"train": self.train_split_name, "validation": self.eval_split_name, "test": self.test_split_name}
        return {split: name for split, name in named.items() if name}

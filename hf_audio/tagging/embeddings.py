"""The embeddings of one recording: a vector per window, and a table of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    import pandas


class Embeddings(NamedTuple):
    """The inputs of the model's classifier layer for each window of a recording.

    Attributes:
        file: the recording's name.
        starts_s, ends_s: float64 `[windows]`.
        values: float32 `[windows, size]`.
    """

    file: str
    starts_s: np.ndarray
    ends_s: np.ndarray
    values: np.ndarray

    def to_table(self) -> pa.Table:
        """One row per window: file, start_s, end_s, embedding; the columns of `hf-audio embed`."""
        embedding = pa.FixedSizeListArray.from_arrays(pa.array(self.values.ravel()), self.values.shape[1])
        columns = {"file": [self.file] * len(self.values), "start_s": self.starts_s, "end_s": self.ends_s}
        return pa.table({**columns, "embedding": embedding})

    def to_pandas(self) -> pandas.DataFrame:
        """The same table as a DataFrame."""
        return self.to_table().to_pandas()

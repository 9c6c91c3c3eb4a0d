"""Digests of the clips and groups that a model was trained and validated on, stored with the model.

    training_data.parquet    digest: uint64, of each clip and group; the schema's metadata has their numbers

A digest is the beginning of the SHA-256 of a salt and the name. Names of speakers or files cannot be read from it, but
someone with the same data can find them. (Anyone can check whether a guessed name is included, as in any searchable
list.)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset

from hf_audio.data.foreign.parquet import PLAIN_ENCODINGS
from hf_audio.data.index.columns import groups_and_splits, is_one_of, names_in, of_split
from hf_audio.data.loading.features_dataset import FeatureDataset
from hf_audio.errors import InputError, one_line
from hf_audio.files import MAX_TABLE_BYTES, atomic_file, open_regular

TRAINING_DATA = "training_data.parquet"
SCHEMA = pa.schema([pa.field("digest", pa.uint64(), nullable=False)])
FACTS = b"hf_audio"
PARTS = ("train clips", "train groups", "validation clips", "validation groups")
SALT_LETTERS = 32
MAX_LETTERS = 10_000


class TrainedOn(NamedTuple):
    """The training and validation data of a model.

    Attributes:
        corpus: the title of the corpus.
        source: the Hub dataset of the recordings; empty if there is none.
        salt: the salt of the digests.
        digests: uint64 for each of PARTS, sorted.
    """

    corpus: str
    source: str
    salt: str
    digests: dict[str, np.ndarray]

    def holds(self, part: str, names: Iterable[str]) -> np.ndarray:
        """Which names are in one of PARTS, bool `[names]`."""
        return np.isin(digests_of(names, part.split()[1], self.salt), self.digests[part])


def digests_of(names: Iterable[str], what: str, salt: str) -> np.ndarray:
    """Digests, uint64 `[names]`; a clip and a group with the same name have different digests."""
    begin = hashlib.sha256(f"{salt} {what} ".encode())
    found = []
    for name in names:
        one = begin.copy()
        one.update(name.encode(errors="surrogatepass"))
        found.append(int.from_bytes(one.digest()[:8], "little"))
    return np.array(found, dtype=np.uint64)


def write_training_data(folder: Path, features: FeatureDataset) -> None:
    """Writes the digests of the clips and groups of a feature dataset that a model was trained and validated on."""
    names = {}
    clips = features.clips()
    for split in ("train", "validation"):
        its = of_split(clips, split)
        rows = features.splits.get(split)
        if isinstance(rows, Dataset):  # may be a share of the split; a stream is always the complete split
            its = its.filter(is_one_of(its["clip_id"], rows.unique("clip_id")))
        names[f"{split} clips"] = its["clip_id"].to_pylist()
        names[f"{split} groups"] = names_in(groups_and_splits(its)["group"])
    salt = hashlib.sha256("\0".join(sorted(names["train clips"])).encode(errors="surrogatepass")).hexdigest()
    salt = salt[:SALT_LETTERS]
    digests = {part: np.sort(digests_of(names[part], part.split()[1], salt)) for part in PARTS}
    corpus = features.manifest["corpus"]
    facts = {"corpus": corpus["name"], "source": corpus["source"], "salt": salt}
    facts["counts"] = {part: len(its) for part, its in digests.items()}
    table = pa.table({"digest": np.concatenate(list(digests.values()))}, schema=SCHEMA)
    written = json.dumps(facts, ensure_ascii=False).encode()
    with atomic_file(folder / TRAINING_DATA) as file:
        schema = SCHEMA.with_metadata({FACTS: written})
        pq.write_table(table.cast(schema), file, compression="none", use_dictionary=False)


def read_training_data(path: Path) -> TrainedOn:
    """Reads and checks a file of `write_training_data`, which may be untrusted.

    Raises:
        InputError: it is not such a file.
    """
    with open_regular(path) as file:
        try:
            parquet = pq.ParquetFile(file)
            facts = _checked(parquet)
            values = parquet.read(use_threads=False)["digest"].to_numpy()
            if len(values) != sum(facts["counts"].values()):
                raise ValueError("its counts do not match")
        except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, RecursionError, MemoryError) as error:
            raise InputError(
                f"{path.name} next to the model cannot be read as a list of its training data ({one_line(error)}): "
                "download the model again, or remove the file"
            ) from error
    ends = np.cumsum([facts["counts"][part] for part in PARTS])
    parts = dict(zip(PARTS, np.split(values, ends[:-1]), strict=True))
    return TrainedOn(facts["corpus"], facts["source"], facts["salt"], parts)


def _checked(parquet: pq.ParquetFile) -> dict:
    """The metadata of the file, after its schema and encodings were checked."""
    if not parquet.schema_arrow.equals(SCHEMA):
        raise ValueError("it has other columns")
    groups = [parquet.metadata.row_group(number).column(0) for number in range(parquet.num_row_groups)]
    packed = any(one.compression != "UNCOMPRESSED" or not set(one.encodings) <= PLAIN_ENCODINGS for one in groups)
    if packed or 8 * parquet.metadata.num_rows > MAX_TABLE_BYTES:
        raise ValueError("it has compressed values, or too many")
    facts = json.loads((parquet.schema_arrow.metadata or {})[FACTS])
    texts = [facts["corpus"], facts["source"], facts["salt"]]
    if not all(isinstance(text, str) and len(text) <= MAX_LETTERS for text in texts):
        raise ValueError("its texts are not valid")
    if set(facts["counts"]) != set(PARTS) or not all(type(one) is int and one >= 0 for one in facts["counts"].values()):
        raise ValueError("its counts are not valid")
    return facts

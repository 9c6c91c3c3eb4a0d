"""Reads any audio dataset, on the Hub or on disk, as clips: all formats of `datasets`, by column types and names.

    Parquet with an Audio column         data/train-00000-of-00010.parquet, or according to the card's configurations
    audio files with metadata            train/metadata.csv or .jsonl or .parquet next to train/a.wav
    audio files in class folders         train/dog/a.wav
    WebDataset                           train-0000.tar with a.wav and a.json or a.cls in it
    output of save_to_disk               dataset_dict.json, train/state.json, train/data-00000-of-00001.arrow

Nothing is copied and no audio is read: from Parquet files on the Hub, only footers and small columns are transferred.
Code in a repository is never run.
"""

from __future__ import annotations

from hf_audio.corpora._dataset.clips import ReadDataset, read_card, read_dataset
from hf_audio.corpora._dataset.place import Place, find_dataset
from hf_audio.corpora._dataset.reading import DatasetReading
from hf_audio.corpora._dataset.recognizing import is_dataset_folder

__all__ = ["DatasetReading", "Place", "ReadDataset", "find_dataset", "is_dataset_folder", "read_card", "read_dataset"]

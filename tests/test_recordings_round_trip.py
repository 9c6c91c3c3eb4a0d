"""Recordings that were pushed as a dataset have the same clips and the same features as the original files."""

from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from corpus_trees import TREES, write_sound

import hf_audio
from hf_audio import DataConfig, FeatureConfig
from hf_audio.data.index.table import metadata_columns
from hf_audio.preparation import build_corpus_features, corpus_clips

pytestmark = pytest.mark.timeout(90)
RATE = 22_050
# settings that the split of each corpus needs
SPLITS = {
    "own": {},
    "esc50": {"fold": "fold2"},
    "openmic": {},
    "solo": {"validation_fraction": 0.25, "test_fraction": 0.25},
}


def own_tree(root: Path) -> Path:
    """Two words by six speakers without splits, as FLAC, MP3 and WAV of 16 and 24 bits; stretches and metadata."""
    rows = ["path,label,group,start_s,end_s,age"]
    for number, word in enumerate(("yes", "no")):
        for speaker in range(6):
            path = root / f"{speaker}-{word}.{('flac', 'mp3', 'wav')[speaker % 3]}"
            write_sound(path, 1.2, speaker, [300.0 * (number + 1)], RATE)
            stretch = "0.1,0.9" if speaker == 2 else ","
            rows.append(f"{path.name},{word},speaker {speaker},{stretch},{30 + speaker}")
    (root / "words.csv").write_text("\n".join(rows))
    return root


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trees")
    return {name: (own_tree if name == "own" else TREES[name])(folder / name) for name in SPLITS}


@pytest.fixture(params=SPLITS)
def both(request, trees, tmp_path, monkeypatch, hub, token):
    """Settings that read the files, and settings that read the dataset that was pushed."""
    monkeypatch.chdir(tmp_path)
    name, split = request.param, SPLITS[request.param]
    corpus = "folder" if name == "own" else name
    files = {"corpus": corpus, "data_dir": str(trees[name])}
    sharing = hf_audio.ShareConfig(hub_dataset_id=f"alice/{name}", hub_private_repo=True)
    hf_audio.share_corpus(hf_audio.CorpusConfig(**files), sharing)
    return DataConfig(**files, **split, num_workers=1), DataConfig(dataset=f"alice/{name}", **split, num_workers=1)


def test_the_same_clips_and_features(both, tmp_path):
    from_files, from_hub = (corpus_clips(data) for data in both)
    assert from_hub.labels == from_files.labels
    facts = sorted({*metadata_columns(from_files.clips)} & {*metadata_columns(from_hub.clips)})
    assert len(facts) == len(metadata_columns(from_files.clips))
    columns = ["clip_id", "labels", "unknown", "group", "split", *facts]
    first, second = (one.clips.sort_by("clip_id").select(columns) for one in (from_files, from_hub))
    assert first.equals(second.cast(first.schema)), (first.to_pylist()[0], second.to_pylist()[0])

    features = FeatureConfig(window_s=0.5)
    folders = [
        build_corpus_features(data, tmp_path / name, features)
        for name, data in zip(("files", "hub"), both, strict=True)
    ]
    for split in pc.unique(first["split"]).to_pylist():
        rows = [pq.read_table(sorted(folder.glob(f"data/{split}-*.parquet"))) for folder in folders]
        rows = [one.sort_by([("clip_id", "ascending"), ("start_s", "ascending")]) for one in rows]
        assert len(rows[0]) and rows[0].column("clip_id").equals(rows[1].column("clip_id"))
        # start_s differs: a stretch pushed as its own file begins at 0
        for column in set(rows[0].column_names) & {"features", "offset", "scale", "labels", "unknown", "num_frames"}:
            assert rows[0][column].equals(rows[1][column]), column

"""From a dataset of recordings to features: copies that corpus modules recognize, settings, cards and reports."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
import pytest
from datasets import ClassLabel, Value
from small_datasets import GENRES, dataset, gtzan_like, parquet, sound, write

from hf_audio import DataConfig, InputError, corpus_clips, parse_recipe
from hf_audio.corpora import gtzan
from hf_audio.data.index.table import rows_of
from hf_audio.preparation import corpora_of

EVERY = (f"{genre}.{number:05d}" for genre in gtzan.GENRES for number in range(100))
UNLISTED = next(name for name in EVERY if name not in gtzan.split_of_tracks())
RECIPE = Path(__file__).parents[1] / "recipes" / "cnn_folder.py"
VALUES = {"output_dir": "runs/x", "model": "cnn"}


def publish(hub, name, made, card=""):
    files = {"data/train-00000-of-00001.parquet": parquet(made)} | ({"README.md": card.encode()} if card else {})
    return hub.create("datasets", name, files)


def tracks(hub):
    names = [*list(gtzan.split_of_tracks())[:40:2], *list(gtzan.split_of_tracks())[-200::20], UNLISTED]
    made = dataset(
        {"file": Value("string"), "genre": ClassLabel(names=list(gtzan.GENRES))},
        file=[f"/home/ann/genres/{name}.wav" for name in names],
        genre=[gtzan.GENRES.index(name.partition(".")[0]) for name in names],
        audio=[{"bytes": b"RIFF", "path": None} for _ in names],
    )
    return publish(hub, "alice/gtzan", made), names


def test_gtzan_on_the_hub_gets_the_split_of_its_module(hub):
    from hf_audio.preparation.read_corpora import read_corpus

    repo, names = tracks(hub)
    read = read_corpus(DataConfig(corpus="gtzan", dataset="alice/gtzan"))
    split_of = gtzan.split_of_tracks()
    found = {clip.clip_id.removesuffix(".wav"): clip.split for clip in rows_of(read.clips)}
    assert found == {name: split_of[name] for name in names if name in split_of}
    assert all(clip.group == clip.clip_id.removesuffix(".wav") for clip in rows_of(read.clips))
    assert read.card.name == "GTZAN" and read.card.may_redistribute is False
    assert (read.card.source, read.card.revision) == ("alice/gtzan", repo.resolve().oid)
    paragraph = read.understanding.paragraph()
    assert "1 clips that --corpus gtzan does not list" in paragraph and "as in --corpus gtzan" in paragraph
    drawn = read_corpus(DataConfig(corpus="gtzan", dataset="alice/gtzan", split="random"))
    assert len(drawn.clips) == len(names) and drawn.clips["split"].null_count == len(names)


def test_corpora_that_cannot_read_the_dataset_are_refused(hub):
    publish(hub, "alice/any", gtzan_like())
    for corpus, sentence in {
        "irmas": "--corpus irmas can only read files, not datasets such as alice/any: give --corpus folder",
        "esc50": "Clip 'blues.00000.wav' of this dataset is not named like a file of ESC-50",
    }.items():
        with pytest.raises(InputError, match=sentence):
            corpus_clips(DataConfig(corpus=corpus, dataset="alice/any"))


def test_folds_of_esc50_come_from_its_file_names(hub):
    names = [f"{fold}-{100 + fold}-A-{number}.wav" for fold in range(1, 6) for number in (0, 1)]
    made = dataset(
        {"category": Value("string"), "target": Value("int64")},
        category=["dog", "rooster"] * 5,
        target=[0, 1] * 5,
        audio=[sound(row, name) for row, name in enumerate(names)],
    )
    publish(hub, "alice/esc50", made)
    found = corpus_clips(DataConfig(corpus="esc50", dataset="alice/esc50", fold="2", validation_fraction=0.0))
    assert {clip.clip_id for clip in rows_of(found.clips) if clip.split == "test"} == {"2-102-A-0.wav", "2-102-A-1.wav"}
    assert found.card.groups_known and found.labels.names == ("dog", "rooster")


def test_both_flags_read_folders_of_either_kind(tmp_path):
    write(tmp_path / "saved", {"data/train-00000-of-00001.parquet": parquet(gtzan_like())})
    write(tmp_path / "folders", {f"{label}/{number}.wav": b"x" for label in "ab" for number in range(9)})
    for given in ({"data_dir": "saved"}, {"dataset": "saved"}, {"data_dir": "folders"}, {"dataset": "folders"}):
        [(flag, folder)] = given.items()
        told = []
        found = corpus_clips(DataConfig(**{flag: str(tmp_path / folder)}), tell=told.append)
        assert found.card.source == ("saved" if folder == "saved" else "")
        assert told[0].startswith("Read the dataset saved" if folder == "saved" else "Read class folders")
        assert str(tmp_path) not in told[0]


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--layout", "table"], "--layout is for folders and tables, but saved is a dataset"),
        (["--merge_classes"], "--merge_classes is for folders and tables"),
        (["--label_column_name", "gener"], "Unknown column of saved 'gener': did you mean 'genre'"),
        (["--dataset_config_name", "x"], "Unknown configuration of saved 'x'"),
        (["--train_split_name", "trian"], "--train_split_name trian: saved has no such split; .*'train'"),
        (
            ["--dataset_revision", "main"],
            "--dataset_revision main applies to datasets on the Hub, but .* is a local folder",
        ),
        (["--data_dir", "x"], "--data_dir would have no effect here: --dataset says where the recordings are"),
    ],
    ids=lambda one: one[0] if isinstance(one, list) else "",
)
def test_settings_without_effect_on_a_dataset_are_refused(tmp_path, flags, sentence):
    write(tmp_path / "saved", {"data/train-00000-of-00001.parquet": parquet(gtzan_like())})
    with pytest.raises(InputError, match=sentence):
        corpus_clips(parse_recipe(VALUES, argv=["--dataset", str(tmp_path / "saved"), *flags]).data)


def test_settings_of_datasets_are_refused_for_files(tmp_path):
    write(tmp_path, {f"{label}/{number}.wav": b"x" for label in "ab" for number in range(9)})
    with pytest.raises(InputError, match=r"--mask_column_name is for datasets, .*: leave it out"):
        corpus_clips(DataConfig(data_dir=str(tmp_path), mask_column_name="mask"))
    with pytest.raises(InputError, match="--dataset_revision main was given without --dataset"):
        DataConfig(data_dir=str(tmp_path), dataset_revision="main")


CARD = """---
license: {license}
pretty_name: "Genres <img src=x> of [music](http://x)"
---
# Genres

```bibtex
@article{{me2020,
  title={{Genres}}
}}
```
"""


@pytest.mark.parametrize(
    ("license", "name", "is_open"),
    [
        ("cc-by-nc-4.0", "cc-by-nc-4.0", True),
        ("cc-by-nd-4.0", "cc-by-nd-4.0", False),
        ("unknown", "unknown", False),
        ("[mit, cc-by-4.0]", "mit and cc-by-4.0", False),
        ("other\nlicense_name: ours-1.0", "ours-1.0", False),
    ],
)
def test_license_and_citation_come_from_the_card_before_building(hub, license, name, is_open):
    repo = publish(hub, "alice/licensed", gtzan_like(), CARD.format(license=license))
    [card] = corpora_of(DataConfig(dataset="alice/licensed"))
    assert (card.license, card.may_redistribute) == (name, is_open)
    assert card.citation == "@article{me2020, title={Genres} }"
    assert card.homepage == f"{hub.endpoint}/datasets/alice/licensed" and card.revision == repo.resolve().oid


def test_a_recipe_distinguishes_recordings_from_features_on_the_hub(hub):
    from hf_audio.recipe_features import settle_source

    repo = publish(hub, "alice/any", gtzan_like())
    recipe = parse_recipe(VALUES, argv=["--dataset", "alice/any", "--test_fraction", "0.3"])
    settle_source(recipe)
    assert not recipe.stored_features and recipe.corpus.dataset_revision == repo.resolve().oid
    hub.create("datasets", "alice/features", {"manifest.json": b"{}"})
    recipe = parse_recipe(VALUES, argv=["--dataset", "alice/features", "--test_fraction", "0.3"])
    with pytest.raises(InputError, match="--test_fraction would have no effect here"):
        settle_source(recipe)
    with pytest.raises(InputError, match="alice/features contains features, not recordings: give --data_dir"):
        corpus_clips(DataConfig(dataset="alice/features"))
    recipe = parse_recipe(VALUES, argv=["--dataset", "alice/any", "--streaming", "false"])
    with pytest.raises(InputError, match="--streaming would have no effect here"):
        settle_source(recipe)


def test_offline_cached_features_are_found_and_other_datasets_refused(hub, monkeypatch):
    from hf_audio.recipe_features import settle_source

    repo = hub.create("datasets", "alice/cached", {"manifest.json": b"{}"})
    huggingface_hub.hf_hub_download("alice/cached", "manifest.json", repo_type="dataset")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    recipe = parse_recipe(VALUES, argv=["--dataset", "alice/cached"])
    settle_source(recipe)
    assert recipe.stored_features and repo
    with pytest.raises(InputError, match=r"HF_HUB_OFFLINE is set, .*alice/other .*: unset it"):
        settle_source(parse_recipe(VALUES, argv=["--dataset", "alice/other"]))


def test_a_recipe_builds_features_of_a_dataset_and_stores_their_source(hub, tmp_path, capsys):
    from hf_audio import prepare_features

    repo = publish(hub, "alice/any", gtzan_like(24), "---\nlicense: cc-by-4.0\n---\n")
    argv = [
        "--dataset",
        "alice/any",
        "--output_dir",
        str(tmp_path / "run"),
        "--num_workers",
        "1",
        "--num_mel_bins",
        "16",
    ]
    features = prepare_features(parse_recipe(VALUES, argv=argv))
    corpus, commit = features.manifest["corpus"], repo.resolve().oid
    assert (corpus["source"], corpus["revision"], corpus["license"]) == ("alice/any", commit, "cc-by-4.0")
    assert capsys.readouterr().out.startswith(
        f"Read the dataset alice/any at commit {commit[:10]} (sound: column audio"
    )
    assert features.labels.names == tuple(GENRES) and sum(map(features.num_windows, features.splits)) == 24
    row = features.splits["train"][0]
    assert row["clip_id"].endswith(".wav") and corpus["understood"].startswith("Read the dataset alice/any")


def test_repeated_runs_all_read_the_commit_of_the_first(hub):
    from hf_audio.repeated_runs import RepeatedRuns

    repo = publish(hub, "alice/any", gtzan_like(24))
    first = repo.resolve().oid
    runs = RepeatedRuns(str(RECIPE), ["--dataset", "alice/any"])
    repo.commit({"data/train-00000-of-00001.parquet": parquet(gtzan_like(12))})
    assert runs.flags == ["--dataset", "alice/any", "--dataset_revision", first] and len(runs.clips) == 24
    decided = runs.decides([])
    assert decided["dataset_revision"] == first
    others = RepeatedRuns(str(RECIPE), ["--dataset", "alice/any"]).decides([])
    assert decided["recordings"] != others["recordings"] and decided["clips"] != others["clips"]


def test_split_settings_without_effect_are_refused_unless_the_recipe_sets_them(hub, tmp_path):
    files = {f"data/{name}-00000-of-00001.parquet": parquet(gtzan_like()) for name in ("train", "validation", "test")}
    hub.create("datasets", "alice/official", files)
    for flags, why in {
        ("--test_fraction", "0.3"): "--test_fraction would have no effect here: the corpus has an official test split",
        (
            "--validation_fraction",
            "0.3",
        ): "--validation_fraction would have no effect here: the corpus has an official valid",
        ("--split_seed", "3"): "--split_seed would have no effect here: nothing is random",
        (
            "--test_fraction",
            "0.3",
            "--num_folds",
            "3",
            "--fold",
            "1",
            "--split",
            "random",
        ): "--num_folds sets the test split",
    }.items():
        recipe = parse_recipe(VALUES, argv=["--dataset", "alice/official", *flags])
        with pytest.raises(InputError, match=why):
            corpus_clips(recipe.data, given=recipe.given)
    recipe = parse_recipe(VALUES | {"test_fraction": 0.3}, argv=["--dataset", "alice/official"])
    assert len(corpus_clips(recipe.data, given=recipe.given).clips) == 36
    with pytest.raises(InputError, match="--test_fraction would have no effect here"):
        corpus_clips(DataConfig(dataset="alice/official", test_fraction=0.3))


def test_classes_have_the_order_of_the_dataset(hub):
    publish(hub, "alice/any", gtzan_like())
    assert corpus_clips(DataConfig(dataset="alice/any")).labels.names == tuple(GENRES)

"""Mixtures as a dataset: planned evenly and without leakage, the same in every process, built by one command."""

from __future__ import annotations

import csv
import dataclasses
import runpy
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import soundfile
from corpus_trees import irmas_tree
from test_mixing_audio import noise, write

from hf_audio import InputError, load_features, mix_clips, share_of_training
from hf_audio.config import DataConfig, FeatureConfig, MixingConfig
from hf_audio.data.building.build import build_features
from hf_audio.data.building.description import describe_build
from hf_audio.data.index.columns import check_disjoint, groups_and_splits
from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL, LabelSpace
from hf_audio.data.index.table import Clip, CorpusCard, MixPart, index_of, rows_of
from hf_audio.finished_work import differences
from hf_audio.kinds._kaldi_fbank import KaldiFbank
from hf_audio.preparation import build_corpus_features

ROOT = Path(__file__).parents[1]
NAMES = ("bell", "drum", "flute", "tuba")
LABELS = LabelSpace(NAMES, MULTI_LABEL)


def clip(number: int, name: str, group: str | None = None, **facts) -> Clip:
    clip_id = f"{name}/{number:03d}"
    return Clip(Path(f"{clip_id}.wav"), (name,), group or clip_id, clip_id, **{"split": "train", **facts})


@pytest.fixture
def clips() -> list[Clip]:
    """Training clips (100 bells, 40 drums, 6 flutes, 6 tubas) in groups of two and two genres; other splits."""
    counts = dict(zip(NAMES, (100, 40, 6, 6), strict=True))
    training = [
        clip(number, name, f"{name}-{number // 2}", metadata={"genre": ("jazz", "folk")[number // 2 % 2], "mic": "x"})
        for name, count in counts.items()
        for number in range(count)
    ]
    return training + [clip(900, name, split="test", metadata={"genre": "jazz"}) for name in NAMES]


def parts_of(mixture: Clip, clips: list[Clip]) -> list[Clip]:
    by_id = {one.clip_id: one for one in clips}
    return [by_id[part.clip_id] for part in mixture.parts]


def test_a_plan_draws_classes_evenly_and_joins_clips_of_one_genre(clips):
    mixtures = list(
        rows_of(mix_clips(index_of(clips), LABELS, MixingConfig(mix_fraction=2.0, mix_same="genre", mix_labels=3)))
    )
    assert len(mixtures) == 2 * 152 and len({one.clip_id for one in mixtures}) == len(mixtures)
    assert {len(one.parts) for one in mixtures} == {2, 3}
    for one in mixtures:
        parts = parts_of(one, clips)
        assert all(part.split == "train" for part in parts) and one.split == "train"
        assert len({part.group for part in parts}) == len(parts)
        assert {label for part in parts for label in part.labels} == set(one.labels) and len(one.labels) == len(parts)
        assert one.group == one.clip_id and one.groups == one.part_groups == tuple(part.group for part in parts)
        assert {part.metadata["genre"] for part in parts} == {one.metadata["genre"]} and one.metadata["mic"] == "x"
        assert one.parts[0].late == 0 and all(0 <= part.late <= 0.5 and -6 <= part.gain_db <= 0 for part in one.parts)
    used = Counter(label for one in mixtures for label in one.labels)
    assert max(used.values()) < 1.1 * min(used.values()), "classes are even although there are 100 bells and 6 tubas"
    heard = Counter(part.clip_id for one in mixtures for part in one.parts)
    assert len([one for one in clips if one.split == "train" and one.clip_id in heard]) > 120


def test_metadata_in_which_the_parts_differ_is_unknown_for_a_mixture(clips):
    mixtures = list(rows_of(mix_clips(index_of(clips), LABELS, MixingConfig(mix_fraction=1.0))))
    assert {one.metadata.get("genre") for one in mixtures} == {"jazz", "folk", None}
    assert list(rows_of(mix_clips(index_of(clips), LABELS, MixingConfig()))) == []


PLAN = """
import random, sys
from pathlib import Path
from hf_audio.config import MixingConfig
from hf_audio.data.index.table import Clip, index_of, rows_of
from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.index.mixtures import mix_clips
names = ("bell", "drum", "flute", "tuba")
clips = [Clip(Path(), (name,), f"{name}-{n // 2}", f"{name}/{n}", split="train") for name in names for n in range(12)]
random.Random(ORDER).shuffle(clips)
labels = LabelSpace(names, "multi_label_classification")
mixtures = mix_clips(index_of(clips), labels, MixingConfig(mix_fraction=0.5, mix_seed=SEED))
print(hash("a"), list(rows_of(mixtures)), sep="; ")
"""


def test_the_plan_is_the_same_in_every_process_and_for_any_order_of_the_index(hub_env, capsys):
    root = Path(__file__).parents[1]
    env = hub_env | {"PYTHONHASHSEED": "1", "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", f"ORDER, SEED = '1', 0\n{PLAN}"]
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=True)
    there, plan = done.stdout.split("; ", 1)
    plans = []
    for order, seed in (("2", 0), ("1", 1)):
        exec(PLAN, {"ORDER": order, "SEED": seed})
        here, *more = capsys.readouterr().out.split("; ", 1)
        plans += more
    assert there != here, "the two processes hash strings differently"
    assert plan == plans[0] != plans[1]
    assert plan.count("clip_id='mix/") == 24


def test_partial_labels_of_the_parts_are_joined(clips):
    one = dataclasses.replace(clip(0, "bell"), unknown=("drum", "tuba"))
    two = dataclasses.replace(clip(1, "drum"), unknown=("flute",))
    (mixture,) = list(rows_of(mix_clips(index_of([one, two]), LABELS, MixingConfig(mix_fraction=0.5))))
    assert mixture.labels == ("bell", "drum"), "in the order of the classes"
    assert mixture.unknown == ("flute", "tuba"), "one of the parts might have them"


def test_a_mixture_with_a_part_of_another_split_is_found():
    parts = tuple(MixPart(group, f"{group}.wav") for group in ("a", "b+c"))
    mixture = dataclasses.replace(clip(9, "bell"), parts=parts, part_groups=("a", "b+c"))

    def check(*others: Clip) -> None:
        check_disjoint(groups_and_splits(index_of([mixture, *others])))

    check(clip(0, "bell", "a"), clip(1, "bell", "b", split="test"))
    with pytest.raises(InputError, match=r"Group 'b\+c' is in two splits, test and train"):
        check(clip(0, "bell", "b+c", split="test"))
    with pytest.raises(InputError, match=r"Group 'a' is in two splits"):
        check(clip(0, "bell", "a", split="validation"))


def test_what_cannot_be_mixed_is_one_sentence(clips):
    def fails(words, clips=clips, labels=LABELS, **settings):
        with pytest.raises(InputError, match=words):
            mix_clips(index_of(clips), labels, MixingConfig(**{"mix_fraction": 1.0, **settings}))

    fails("but this task is single-label", labels=LabelSpace(NAMES, SINGLE_LABEL))
    fails("--mix_same gener is not metadata of the training clips: did you mean genre", mix_same="gener")
    fails("--mix_same genre is not metadata .*: they have none", [clip(0, "bell"), clip(0, "drum")], mix_same="genre")
    fails("No 2 training clips of different groups and classes", [clip(0, "bell"), clip(1, "bell")])
    alone = [clip(0, "bell", metadata={"genre": "x"}), clip(0, "drum", metadata={"genre": "y"})]
    fails("No 2 training clips that agree in genre .*leave out --mix_same", alone, mix_same="genre")
    fails("No 4 training clips .*at most 4", [clip(0, name, "song") for name in NAMES], mix_clips=[4, 4])
    wrong = {"mix_clips": [1, 2], "mix_labels": 1, "mix_overlap": 0.0, "mix_match": "key", "mix_fraction": -1.0}
    for name, value in wrong.items():
        with pytest.raises(ValueError, match=f"--{name}"):
            MixingConfig(**{name: value})


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> tuple[Path, list[Clip]]:
    """Training clips of four classes, one of them a broken file, and clips for validation and test."""
    root, found = tmp_path_factory.mktemp("audio"), []
    for place, name in enumerate(NAMES):
        for number, split in enumerate(["train"] * 5 + ["validation", "test"]):
            one = clip(number, name, split=split, metadata={"room": str(number % 2)})
            path = root / one.path
            write(path, noise(10 * place + number, 0.6))
            found.append(dataclasses.replace(one, path=path))
    (root / "bell/003.wav").write_bytes(b"no sound")
    return root, found


def build(folder: Path, clips: list[Clip], **options) -> Path:
    card = CorpusCard("Noise", license="CC0 1.0", may_redistribute=True)
    settings = {"window_s": 0.3, "hop_s": 0.3, "card": card, "num_workers": 1, **options}
    return build_features(index_of(clips), LABELS, folder, KaldiFbank(num_mel_bins=24), **settings)


def test_a_dataset_with_mixtures(small, tmp_path):
    _, clips = small
    mixtures = list(rows_of(mix_clips(index_of(clips), LABELS, MixingConfig(mix_fraction=1.0))))
    folder = build(tmp_path / "features", clips + mixtures)
    features = load_features(folder)
    named = {row["clip_id"]: row for row in features.clips().to_pylist() if row["parts"]}
    assert named.keys() == {one.clip_id for one in mixtures}
    for one in mixtures:
        parts = [
            {"clip_id": part.clip_id, "gain_db": part.gain_db, "late": part.late, "skip": part.skip}
            for part in one.parts
        ]
        assert named[one.clip_id]["parts"] == parts, "parts name clips, never a local path"
        assert named[one.clip_id]["part_groups"] == list(one.part_groups) and named[one.clip_id]["match"] == "none"
    excluded = dict(list(csv.reader((folder / "excluded.csv").open()))[1:])
    broken = {one.clip_id for one in mixtures if any(part.clip_id == "bell/003" for part in one.parts)}
    assert broken and excluded.keys() == {"bell/003", *broken}
    assert all(excluded[name].startswith("made of bell/003, which is unreadable") for name in broken)
    facts = features.manifest["splits"]["train"]
    assert facts["num_clips"] == 2 * 20 - 1 - len(broken) and facts["num_groups"] == 19, "mixtures add no groups"
    labels_of = {one.clip_id: LABELS.indices(one.labels) for one in mixtures}
    windows = [row for row in features.splits["train"] if row["clip_id"] in labels_of]
    assert windows and all(row["labels"] == labels_of[row["clip_id"]] for row in windows)
    groups_of = {one.clip_id: list(one.part_groups) for one in mixtures}
    assert all(row["part_groups"] == groups_of.get(row["clip_id"], []) for row in features.splits["train"])
    assert {round(row["start_s"], 3) for row in windows} == {0.0, 0.3}
    with pytest.raises(InputError, match=r"bell/003\.wav is unreadable"):
        build(tmp_path / "strict", clips + mixtures, strict=True)

    few = share_of_training(features, 0.5, seed=3)
    train = few.splits["train"]
    kept = {row["group"] for row in train if not row["part_groups"]}
    assert few.manifest["splits"]["train"]["num_groups"] == len(kept) == 10
    stayed = {row["clip_id"] for row in train if row["part_groups"]}
    assert stayed and all(kept.issuperset(groups_of[name]) for name in stayed)
    lost = {row["clip_id"] for row in windows} - stayed
    assert lost and not any(kept.issuperset(groups_of[name]) for name in lost)
    clip_labels = {row["clip_id"]: row["labels"] for row in train}
    counts = Counter(index for indices in clip_labels.values() for index in indices)
    found = few.manifest["splits"]["train"]["label_counts"]
    assert found == {name: counts[index] for index, name in enumerate(NAMES)}


def test_other_mixing_settings_make_another_build(small, tmp_path):
    _, clips = small
    described = [
        describe_build(
            index_of([*clips, *rows_of(mix_clips(index_of(clips), LABELS, MixingConfig(**settings)))]),
            LABELS,
            {},
            1.0,
            1.0,
        )
        for settings in (
            {"mix_fraction": 0.0},
            {"mix_fraction": 0.5},
            {"mix_fraction": 0.5, "mix_level_db": 3.0},
            {"mix_fraction": 0.5, "mix_match": "pitch"},
        )
    ]
    assert described[0]["mixtures"] is None
    assert [differences(described[1], other) for other in described[2:]] == [["mixtures"]] * 2
    folder = build(tmp_path / "plain", [one for one in clips if one.clip_id != "bell/003"])
    assert "part_groups" not in load_features(folder).clips().column_names
    assert "part_groups" not in load_features(folder).splits["train"].column_names


def test_irmas_mixed_by_one_command_and_some_to_listen_to(tmp_path, monkeypatch):
    root = irmas_tree(tmp_path / "irmas", duration_s=0.5)
    data = DataConfig(corpus="irmas", data_dir=str(root), num_workers=1)
    mixing = MixingConfig(mix_fraction=0.5, mix_same="genre")
    folder = build_corpus_features(data, tmp_path / "features", FeatureConfig(window_s=0.5), mixing)
    features = load_features(folder)
    mixed = {row["clip_id"]: row for row in features.splits["train"] if row["clip_id"].startswith("mix/")}
    assert len(mixed) > 10 and all(2 <= len(row["labels"]) <= 4 for row in mixed.values())
    assert {row["genre"] for row in mixed.values()} == {"cla"}
    assert f"{len(mixed)} mixtures of its clips" in features.manifest["corpus"]["protocol"]
    command = ["preview_mixtures.py", "--corpus", "irmas", "--data_dir", str(root)]
    monkeypatch.setattr(sys, "argv", [*command, "--preview", "3", "--preview_dir", str(tmp_path / "listen")])
    runpy.run_path(str(ROOT / "scripts/preview_mixtures.py"), run_name="__main__")
    files = sorted((tmp_path / "listen").glob("*.flac"))
    assert len(files) == 3 and all("+" in path.name for path in files)
    assert soundfile.info(files[0]).duration == pytest.approx(0.5)

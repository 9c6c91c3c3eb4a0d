"""UrbanSound8K in its real layout, and its ten folds."""

from __future__ import annotations

from pathlib import Path

import pytest

from hf_audio import InputError, LabelSpace
from hf_audio.corpora import urbansound8k
from hf_audio.data.index.table import index_of, rows_of
from hf_audio.data.splits.assigning import assign_splits

HEADER = "slice_file_name,fsID,start,end,salience,fold,classID,class\n"


def make_tree(root: Path, classes: int = 10) -> Path:
    """One recording in two slices for each class and fold, laid out like the archive."""
    base = root / "UrbanSound8K"
    (base / "metadata").mkdir(parents=True)
    rows = []
    for number, name in enumerate(urbansound8k.CLASSES[:classes]):
        for fold in range(1, 11):
            folder = base / "audio" / f"fold{fold}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / ".DS_Store").touch()
            source = 100_000 + 100 * number + fold
            for piece in range(2):
                file = f"{source}-{number}-0-{piece}.wav"
                (folder / file).touch()
                rows.append(f"{file},{source},{2.5 * piece},{2.5 * piece + 4},{piece + 1},{fold},{number},{name}\n")
    (base / "metadata" / "UrbanSound8K.csv").write_text(HEADER + "".join(rows))
    return root


def test_whole_layout(tmp_path, caplog):
    clips = list(rows_of(urbansound8k.index(make_tree(tmp_path))))
    assert len(clips) == 200 and len({clip.labels for clip in clips}) == 10 and not caplog.text
    first, second = clips[:2]
    assert (first.clip_id, first.labels, first.split) == ("fold1/100001-0-0-0.wav", ("air_conditioner",), "fold1")
    assert first.group == second.group == "100001" and Path(first.path).is_file()
    assert (first.metadata, second.metadata) == ({"salience": "foreground"}, {"salience": "background"})


def test_folds_are_tested_in_turn(tmp_path):
    clips = list(rows_of(urbansound8k.index(make_tree(tmp_path))))
    labels = LabelSpace.of_clips(index_of(clips), urbansound8k.CARD.label_names, urbansound8k.CARD.problem_type)
    with pytest.raises(InputError, match="official folds fold1, fold2, fold3"):
        assign_splits(index_of(clips), labels)
    split = list(rows_of(assign_splits(index_of(clips), labels, fold="fold10")))
    assert {Path(clip.path).parent.name for clip in split if clip.split == "test"} == {"fold10"}
    assert {clip.labels[0] for clip in split if clip.split == "validation"} == set(urbansound8k.CLASSES)


def test_copies_with_the_table_next_to_the_folds(tmp_path):
    base = make_tree(tmp_path, classes=1) / "UrbanSound8K"
    (base / "metadata" / "UrbanSound8K.csv").rename(base / "audio" / "UrbanSound8K.csv")
    assert len(urbansound8k.index(base / "audio")) == 20


def test_partial_layout_warns(tmp_path, caplog):
    root = make_tree(tmp_path, classes=2)
    (root / "UrbanSound8K/audio/fold1/100001-0-0-0.wav").unlink()
    assert len(urbansound8k.index(root)) == 39
    assert "is partial: it has 39 of 40 clips" in caplog.text


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (
            lambda table: table.unlink(),
            "does not contain UrbanSound8K; expected metadata/UrbanSound8K.csv and audio/fold5/",
        ),
        (
            lambda table: (table.parents[1] / "audio").rename(table.parents[1] / "x"),
            "lists 20 clips but .*audio has none",
        ),
        (lambda table: table.write_text("a,b\n1,2\n"), "has columns a, b but needs slice_file_name, fsID, fold, class"),
        (
            lambda table: table.write_text(HEADER + "1-0-0-0.wav,1,0,4,1,1,0,sirene\n"),
            "class in .* line 2 'sirene': did you mean 'siren'",
        ),
        (
            lambda table: table.write_text(HEADER + "1-0-0-0.wav,1,0,4,1,11,8,siren\n"),
            "line 2: fold '11' is not one of 1 to 10; unpack",
        ),
        (
            lambda table: table.write_text(HEADER + "1-8-0-0.wav,1,0,4,1,1,8,siren\n1-8-0-1.wav,1,4,8,1,5,8,siren\n"),
            "excerpts of recording 1 in fold1 and fold5, which the official folds keep together; unpack",
        ),
    ],
)
def test_bad_layouts_get_one_sentence(tmp_path, damage, sentence):
    root = make_tree(tmp_path, classes=1)
    damage(root / "UrbanSound8K/metadata/UrbanSound8K.csv")
    with pytest.raises(InputError, match=sentence) as caught:
        urbansound8k.index(root)
    assert "\n" not in str(caught.value)

"""ESC-50 in the original layout, and its five folds."""

from __future__ import annotations

from pathlib import Path

import pytest

from hf_audio import InputError, LabelSpace
from hf_audio.corpora import esc50
from hf_audio.data.index.table import index_of, rows_of
from hf_audio.data.splits.assigning import assign_splits

HEADER = "filename,fold,target,category,esc10,src_file,take\n"


def make_tree(root: Path, categories: int = 50) -> Path:
    """A recording in two takes per class and fold, as unpacked from master.zip."""
    base = root / "ESC-50-master"
    (base / "audio").mkdir(parents=True)
    (base / "meta").mkdir()
    rows = []
    for target, category in enumerate(esc50.CATEGORIES[:categories]):
        for fold in range(1, 6):
            source = 100_000 + 10 * target + fold
            for take in "AB":
                name = f"{fold}-{source}-{take}-{target}.wav"
                (base / "audio" / name).touch()
                rows.append(f"{name},{fold},{target},{category},{target in (0, 1, 10)},{source},{take}\n")
    (base / "meta" / "esc50.csv").write_text(HEADER + "".join(rows))
    return root


def test_complete_layout(tmp_path, caplog):
    clips = list(rows_of(esc50.index(make_tree(tmp_path))))
    assert len(clips) == 500 and len({clip.labels for clip in clips}) == 50 and not caplog.text
    first = clips[0]
    assert (first.clip_id, first.labels, first.split) == ("audio/1-100001-A-0.wav", ("dog",), "fold1")
    assert first.group == clips[1].group == "100001" and Path(first.path).is_file()
    assert first.metadata == {"esc10": "yes"} and clips[-1].metadata == {"esc10": "no"}


def test_folds_are_tested_in_turn(tmp_path):
    clips = list(rows_of(esc50.index(make_tree(tmp_path))))
    labels = LabelSpace.of_clips(index_of(clips), esc50.CARD.label_names, esc50.CARD.problem_type)
    with pytest.raises(InputError, match="official folds fold1, fold2, fold3, fold4, fold5; choose"):
        assign_splits(index_of(clips), labels)
    split = list(rows_of(assign_splits(index_of(clips), labels, fold="fold3")))
    assert {clip.clip_id[6] for clip in split if clip.split == "test"} == {"3"}
    assert {clip.labels[0] for clip in split if clip.split == "validation"} == set(esc50.CATEGORIES)


def test_partial_layout_warns(tmp_path, caplog):
    root = make_tree(tmp_path, categories=2)
    (root / "ESC-50-master/audio/1-100001-A-0.wav").unlink()
    assert len(esc50.index(root)) == 19
    assert "is partial: it has 19 of 20 clips" in caplog.text


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda base: (base / "meta/esc50.csv").unlink(), "does not contain ESC-50; expected meta/esc50.csv"),
        (lambda base: (base / "audio").rename(base / "sounds"), "lists 10 clips but .*audio has none of them"),
        (lambda base: (base / "meta/esc50.csv").write_text("file,fold\n"), "needs filename, fold, category, src_file"),
        (
            lambda base: (base / "meta/esc50.csv").write_text(HEADER + "1-100001-A-0.wav,1,0,dgo,True,100001,A\n"),
            "category in .* line 2 'dgo': did you mean 'dog'",
        ),
    ],
)
def test_bad_layouts_are_refused(tmp_path, damage, sentence):
    root = make_tree(tmp_path, categories=1)
    damage(root / "ESC-50-master")
    with pytest.raises(InputError, match=sentence):
        esc50.index(root)

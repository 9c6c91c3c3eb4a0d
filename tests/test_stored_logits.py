"""Stored logits of a teacher: found by clip and start, published, and learned from."""

from __future__ import annotations

import dataclasses
import runpy
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import load_dataset
from test_distillation import teacher_of
from training_run import batch_of, trainer_of

from hf_audio import InputError
from hf_audio.augment import Compose, Mixup, Normalization, SpecAugment
from hf_audio.config import DistillingConfig
from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL
from hf_audio.data.loading.features_dataset import load_features
from hf_audio.models.saving import save_extractor, save_model
from hf_audio.stored_scores import read_logits, write_logits
from hf_audio.training import Classification
from hf_audio.training.distillation import Distillation
from hf_audio.training.stored_teacher import StoredTeacher
from hf_audio.training.teachers import distillation_for, require_teacher

SCRIPT = Path(__file__).parents[1] / "scripts" / "store_logits.py"


@pytest.fixture
def teacher_folder(tiny_features, tmp_path) -> Path:
    save_model(teacher_of(tiny_features).model, tmp_path / "teacher")
    save_extractor(tiny_features.extractor, tmp_path / "teacher")
    (tmp_path / "teacher" / "README.md").write_text("---\nlicense: mit\n---\n")
    return tmp_path / "teacher"


def test_logits_are_stored_published_and_learned_from(
    teacher_folder, tiny_folders, tiny_features, tmp_path, hub, token, monkeypatch
):
    argv = [SCRIPT.name, str(teacher_folder), str(tiny_folders[SINGLE_LABEL]), "--output_dir", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", [*argv, "--device", "cpu", "--push_to_hub", "alice/logits", "--private"])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    assert hub.repo("datasets", "alice/logits").private
    rows = load_dataset("alice/logits", split="train", token=token)
    num_windows = {split: tiny_features.num_windows(split) for split in tiny_features.splits}
    assert len(rows) == sum(num_windows.values()) and "logit: bell" in rows.column_names
    card = hub.repo("datasets", "alice/logits").read("README.md").decode()
    assert "license: mit" in card and str(tmp_path) not in card and '"alice/logits"' in card

    config = DistillingConfig(teacher_logits="alice/logits", distillation_weight=1.0)
    require_teacher(config, tiny_features.labels, tiny_features.extractor, token)
    distillation = distillation_for(config, tiny_features, token=token)
    facts = distillation.settings()
    assert facts["teacher"] == "teacher" and facts["license"] == "mit" and facts["stored_logits"] == "alice/logits"
    assert facts["stored_logits_commit"] == hub.repo("datasets", "alice/logits").resolve().oid

    def losses(distillation: Distillation, folder: str) -> list[float]:
        arguments = {"max_steps": 3, "dataloader_num_workers": 1 if folder == "stored" else 0}
        trainer = trainer_of(tiny_features, tmp_path / folder, None, arguments, {"distillation": distillation})
        trainer.train()
        return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]

    heard = Distillation(teacher_of(tiny_features), tiny_features.labels, weight=1.0)
    assert losses(distillation, "stored") == pytest.approx(losses(heard, "heard"), rel=1e-4)
    with pytest.raises(InputError, match="is a folder, which has no revision"):
        distillation_for(DistillingConfig(teacher_logits=str(tmp_path / "out"), teacher_revision="x"), tiny_features)


def test_windows_on_a_shifted_grid_are_found_and_missing_ones_refused(tiny_features, tmp_path):
    teacher = teacher_of(tiny_features)
    windows = {split: teacher.predictor.window_logits(tiny_features, split) for split in tiny_features.splits}
    for one in windows.values():
        one.starts_s[:] += 0.02
    write_logits(tmp_path / "a", windows, teacher.labels, {})
    stored = read_logits(tmp_path / "a" / "scores" / "windows.parquet", "a")
    batch = StoredTeacher(stored, tiny_features, "a").collator_of(collator_of(tiny_features))(
        list(tiny_features.splits["validation"])
    )
    np.testing.assert_allclose(batch["teacher_logits"], windows["validation"].values)
    torch.testing.assert_close(batch["labels"], batch_of(tiny_features, "validation")["labels"])
    shifted = stored._replace(starts_s=stored.starts_s + 0.1)
    with pytest.raises(InputError, match=r"a lacks the logits of \d+ of \d+ windows \(the first is of .* at 0 s\)"):
        StoredTeacher(shifted, tiny_features, "a")
    few = stored._replace(clip_ids=stored.clip_ids[:5], starts_s=stored.starts_s[:5], logits=stored.logits[:5])
    with pytest.raises(InputError, match=r"a has logits of 5 windows, but .* has 38 in its train split alone"):
        StoredTeacher(few, tiny_features, "a")


def test_a_stream_gets_the_same_logits_as_a_folder(tiny_folders, tiny_features, tmp_path, hub, token):
    folder = tiny_folders[SINGLE_LABEL]
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    hub.create("datasets", "alice/tiny", {name: content for name, content in files.items() if name[0] != "."})
    streamed, teacher = load_features("alice/tiny", streaming=True, token=token), teacher_of(tiny_features)
    windows = {split: teacher.predictor.window_logits(tiny_features, split) for split in tiny_features.splits}
    stored = read_logits(write_logits(tmp_path / "logits", windows, teacher.labels, {}), "logits")
    batch = first_batch(streamed, StoredTeacher(stored, streamed, "logits"))
    np.testing.assert_allclose(teacher.answers(batch), batch["teacher_logits"], rtol=1e-4, atol=1e-4)
    other = stored._replace(starts_s=stored.starts_s + 9)
    unchecked = dataclasses.replace(streamed, splits={"train": streamed.splits["train"]})
    with pytest.raises(InputError, match="logits lacks the logits of 6 of 6 windows"):
        first_batch(streamed, StoredTeacher(other, unchecked, "logits"))


def first_batch(features, teacher: StoredTeacher) -> dict:
    """The batch that a trainer makes of the first rows."""
    collator = teacher.collator_of(collator_of(features))
    return collator.on_device(collator(list(islice(features.splits["train"], 6))))


def collator_of(features):
    return Classification(features).collator


def test_stored_logits_cannot_be_used_with_mixing(tiny_folders, tmp_path):
    features = load_features(tiny_folders[MULTI_LABEL])
    teacher = teacher_of(features)
    windows = {split: teacher.predictor.window_logits(features, split) for split in features.splits}
    path = write_logits(tmp_path, windows, teacher.labels, {"teacher": "t"})
    distillation = Distillation(StoredTeacher(read_logits(path, "a"), features, "a"), features.labels)
    normalization = Normalization.of(features.extractor)
    masked = Compose((SpecAugment(4, 4),), normalization)
    assert (
        Classification(features, augment=masked, distillation=distillation).settings()["distillation"]["teacher"] == "t"
    )
    with pytest.raises(InputError, match="are for stored windows, but Mixup mixes several"):
        Classification(features, augment=Compose((Mixup(0.4),), normalization), distillation=distillation)


@pytest.mark.parametrize("content", [b"", b"PAR1" * 5])
def test_folders_and_repositories_without_logits_are_one_sentence(tiny_features, tmp_path, hub, token, content):
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores" / "windows.parquet").write_bytes(content)
    with pytest.raises(InputError, match="contains no stored logits"):
        StoredTeacher.load(str(tmp_path), tiny_features)
    hub.create("datasets", "alice/other", {"a.txt": b""})
    with pytest.raises(InputError, match=r"holds no stored logits \(no scores/windows.parquet\)"):
        StoredTeacher.load("alice/other", tiny_features, token=token)
    with pytest.raises(InputError, match="neither a folder nor a Hub repository"):
        StoredTeacher.load(str(tmp_path / "nowhere"), tiny_features)

"""The files of docs/templates work unchanged: a corpus is read, a network trained and published, a loss computed."""

from __future__ import annotations

import dataclasses
import importlib
import json
import shutil
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import soundfile
import torch
from torch.nn import functional

import hf_audio.corpora
import hf_audio.losses
import hf_audio.models
from hf_audio.config import DataConfig, LossConfig
from hf_audio.data.index.labels import SINGLE_LABEL, LabelSpace
from hf_audio.data.index.table import rows_of
from hf_audio.errors import InputError
from hf_audio.losses.task_loss import FUNCTIONS, TaskLoss
from hf_audio.preparation import corpus_clips

TEMPLATES = Path(__file__).parents[1] / "docs" / "templates"


@pytest.fixture
def templates(monkeypatch):
    """Packages that also find the templates of docs/, as if they had been copied there."""
    for package in (hf_audio.corpora, hf_audio.losses):
        folder = TEMPLATES / package.__name__.rpartition(".")[2]
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])


@pytest.fixture
def bird_calls(tmp_path) -> Path:
    """Three species at six sites each, in the template's layout."""
    rows, audio = ["file,species,site"], tmp_path / "corpus" / "audio"
    audio.mkdir(parents=True)
    for number in range(18):
        name = f"{number:04d}.wav"
        soundfile.write(audio / name, np.random.default_rng(number).uniform(-0.1, 0.1, 1600), 16_000)
        rows.append(f"{name},{('blackbird', 'robin', 'wren')[number % 3]},site{number // 3}")
    (audio.parent / "calls.csv").write_text("\n".join(rows))
    return audio.parent


def test_the_corpus_is_found_by_its_name_and_read(templates, bird_calls):
    assert "bird_calls" in hf_audio.corpora.corpus_names() and "bird_calls" in hf_audio.corpora.corpus_table()
    data = DataConfig(corpus="bird_calls", data_dir=str(bird_calls), validation_fraction=0.2, test_fraction=0.2)
    prepared = corpus_clips(data)
    clips = list(rows_of(prepared.clips))
    assert len(clips) == 18 and prepared.labels.names == ("blackbird", "robin", "wren")
    sites = [{clip.group for clip in clips if clip.split == split} for split in ("train", "validation", "test")]
    assert all(sites) and sum(map(len, sites)) == 6, "no site is in two splits"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda table: table.unlink(),
            "does not contain calls.csv; download Bird calls from https://example.org/bird-calls",
        ),
        (lambda table: table.write_text("file,species\n"), "site"),
        (lambda table: table.write_text("file,species,site\n0000.wav,robbin,a\n"), "calls.csv line 2.*robin"),
        (lambda table: table.write_text("file,species,site\n99.wav,wren,a\n"), "names audio/99.wav, which is missing"),
    ],
)
def test_faults_of_a_copy_of_the_corpus_are_one_sentence(templates, bird_calls, change, sentence):
    change(bird_calls / "calls.csv")
    with pytest.raises(InputError, match=sentence):
        hf_audio.corpora.find_corpus("bird_calls").index(bird_calls)


TRAINS_AND_PUBLISHES = """
import sys
import torch
from pathlib import Path
import hf_audio.models, hf_audio.models.presets, hf_audio.models.possible, hf_audio.publishing.contents
from hf_audio.data.loading.features_dataset import load_features
from hf_audio.publishing.push import push_model
from training_run import batch_of, trainer_of
copied, features, run = sys.argv[1:]
hf_audio.models.__path__.append(copied)
hf_audio.publishing.contents.CODE_FOLDERS.append(Path(copied))
from hf_audio.models.frame_network import FrameNetwork
hf_audio.models.presets.NETWORKS["frames"] = hf_audio.models.presets.Preset(FrameNetwork, {"hidden_size": 8})
for module in (hf_audio.models, hf_audio.models.possible):
    module.PRESETS = (*module.PRESETS, "frames")
features = load_features(features)
model = hf_audio.models.build_model("frames", features, options={"head": "deep", "head_sizes": [8]})
before = [weight.clone() for weight in model.parameters()]
trainer_of(features, run, model=model, arguments={"max_steps": 1, "warmup_steps": 0}).train_resumable()
assert not any(torch.equal(*pair) for pair in zip(before, model.parameters(), strict=True)), "all weights learn"
model.eval()
values = batch_of(features, "test")["input_values"][:1].contiguous()
alone = model(values[:, :20]).logits
torch.testing.assert_close(model(values, num_frames=torch.tensor([20])).logits, alone)
push_model(run, "alice/frames")
"""
HEARS = """
import json
import numpy as np
from transformers import pipeline
classifier = pipeline("audio-classification", model="alice/frames", trust_remote_code=True)
noise = np.random.default_rng(0).uniform(-0.1, 0.1, 6400).astype(np.float32)
print(json.dumps([type(classifier.model).__name__, classifier({"raw": noise, "sampling_rate": 16_000}, top_k=None)]))
"""


def test_the_network_is_trained_for_a_step_and_used_without_hf_audio(
    tiny_folders, hub_env, tmp_path, forks, forks_without_hf_audio
):
    copied = shutil.copytree(Path(hf_audio.models.__file__).parent, tmp_path / "models")
    shutil.copy(TEMPLATES / "models" / "frame_network.py", copied)  # the files next to it are published too
    job = (copied, tiny_folders[SINGLE_LABEL], tmp_path / "run")
    trained = forks.run(TRAINS_AND_PUBLISHES, *job, env=hub_env, cwd=tmp_path)
    assert trained.returncode == 0, trained.errors[-4000:]
    heard = forks_without_hf_audio.run(HEARS, env=hub_env, cwd=tmp_path)
    assert heard.returncode == 0, heard.errors[-4000:]
    name, answers = json.loads(heard.output.splitlines()[-1])
    assert name == "FrameNetwork" and {one["label"] for one in answers} == {"bell", "hiss", "hum"}
    assert sum(one["score"] for one in answers) == pytest.approx(1, abs=1e-4)


@dataclasses.dataclass
class WithPoly(LossConfig):
    """LossConfig changed as the guide says: one more name and one more field."""

    loss: Literal["poly"] = "poly"
    poly_epsilon: float = 1.0

    def __post_init__(self) -> None:
        assert self.loss == "poly"


def test_the_loss_is_used_by_name_with_its_setting(templates, monkeypatch):
    poly = importlib.import_module("hf_audio.losses.poly").poly
    monkeypatch.setitem(FUNCTIONS, "poly", (poly, None))
    labels = LabelSpace(("bell", "hiss", "hum"), SINGLE_LABEL)
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    classes = torch.tensor([0, 1, 2, 1, 0])
    targets = functional.one_hot(classes, 3).float()
    loss = TaskLoss(labels, WithPoly(poly_epsilon=2.0))
    expected = functional.cross_entropy(logits, classes, reduction="none")
    expected = expected + 2 * (1 - logits.softmax(1).gather(1, classes[:, None])[:, 0])
    torch.testing.assert_close(loss(logits, targets), expected)
    assert loss.settings()["poly_epsilon"] == 2.0 and "focal_gamma" not in loss.settings()

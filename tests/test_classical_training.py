"""SVM and boosting on classical features, alone and with a network's: training, scores, publishing and loading."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from huggingface_hub import ModelCard
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from training_run import CLASSES, sound, tiny_model
from transformers import Wav2Vec2Config, Wav2Vec2ForSequenceClassification

import hf_audio
from hf_audio.classical_models.classifiers import MIN_LOGIT, calibrate, decision_values, fit_classifiers
from hf_audio.classical_models.run_folder import MODEL_FILE, claim_folder, load_run, save_run
from hf_audio.classical_models.training import train_pipeline
from hf_audio.classical_models.window_vectors import TrainedNetwork, VectorReader, classical_vectors, join, open_network
from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL, LabelSpace
from hf_audio.errors import InputError
from hf_audio.metrics import ClipScores
from hf_audio.models.spectrogram_cnn import SpectrogramCNN, SpectrogramCNNConfig
from hf_audio.predictor import Predictor
from hf_audio.stored_scores import read_scores

CLIPS = {"train": 21, "validation": 7, "test": 7}
VALUES = {"output_dir": "runs/tones", "corpus": "folder", "features": "classical", "classical_model": "svm"}
CUT = ("--window_s", "0.4", "--hop_s", "0.4", "--num_workers", "1")
USE_CARDS = """
import json, sys
sys.modules["hf_audio"] = None  # users of a published model do not have it
found = {}
for name, (code, recording) in json.load(open(sys.argv[1])).items():
    variables, handler = {}, {}
    exec(compile(code, name, "exec"), variables)
    found[name] = dict(zip(variables["names"], map(float, variables["scores"])))
    exec(compile((variables["folder"] / "handler.py").read_text(), "handler", "exec"), handler)
    endpoint = handler["EndpointHandler"](str(variables["folder"]))
    answer = endpoint({"inputs": open(recording, "rb").read()})
    found[name + " by its handler"] = {one["label"]: one["score"] for one in answer}
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> dict[str, Path]:
    """A folder per task with clips of 0.3, 0.8 and 1 s at 16 kHz, which have one, two and three windows."""
    folders = {}
    for kind in (SINGLE_LABEL, MULTI_LABEL):
        folders[kind] = tmp_path_factory.mktemp(kind)
        random = np.random.default_rng(0)
        lines = ["path,labels,split"]
        for split, number in CLIPS.items():
            for index in range(number):
                numbers = [index % 3] if kind == SINGLE_LABEL else [k for k in range(3) if (index + 1) >> k & 1] or [0]
                duration_s = (0.3, 0.8, 1.0)[index % 3 if index > 2 else 1]
                samples = sum(sound(one, duration_s, random) for one in [*numbers, None])
                soundfile.write(folders[kind] / f"{split}-{index}.wav", samples, 16_000)
                lines.append(f"{split}-{index}.wav,{';'.join(CLASSES[one] for one in numbers)},{split}")
        (folders[kind] / "index.csv").write_text("\n".join(lines) + "\n")
    return folders


@pytest.fixture(scope="module")
def stored(recordings, tmp_path_factory):
    """Features by task and kind."""
    root = tmp_path_factory.mktemp("features")
    built = {}
    for kind, features in ((SINGLE_LABEL, "classical"), (MULTI_LABEL, "classical"), (MULTI_LABEL, "fbank")):
        data = hf_audio.DataConfig(data_dir=str(recordings[kind]), num_workers=1)
        size = {"num_mel_bins": 32} if features == "fbank" else {}
        settings = hf_audio.FeatureConfig(features=features, window_s=0.4, hop_s=0.4, **size)
        built[kind, features] = hf_audio.build_corpus_features(data, root / f"{kind}-{features}", settings)
    return built


@pytest.fixture(scope="module")
def network_folder(stored, tmp_path_factory) -> Path:
    """The run folder of an untrained CNN, beside its features."""
    features = hf_audio.load_features(stored[MULTI_LABEL, "fbank"])
    torch.manual_seed(0)
    labels = features.labels
    folder = tmp_path_factory.mktemp("runs") / "cnn"
    SpectrogramCNN(
        SpectrogramCNNConfig(id2label=labels.id2label, label2id=labels.label2id, problem_type=labels.problem_type)
    ).save_pretrained(folder)
    features.extractor.save_pretrained(folder)
    (folder / "features").symlink_to(stored[MULTI_LABEL, "fbank"])
    return folder


def accuracy(clips: ClipScores) -> float:
    return float((clips.logits.argmax(axis=1) == clips.targets.argmax(axis=1)).mean())


@pytest.mark.parametrize("classical_model", ["svm", "boosting"])
def test_one_label_is_learned_reproducibly(stored, classical_model):
    features = hf_audio.load_features(stored[SINGLE_LABEL, "classical"])
    trained = train_pipeline(features, classical_model, num_jobs=1)
    clips = trained.scores(features, "test")
    assert len(clips) == CLIPS["test"] and accuracy(clips) > 0.8
    assert list(trained.classifiers) == list(features.labels.names)
    again = train_pipeline(features, classical_model, num_jobs=2).scores(features, "test")
    np.testing.assert_array_equal(clips.logits, again.logits)


def test_each_class_has_scikit_learns_svm(stored):
    features = hf_audio.load_features(stored[MULTI_LABEL, "classical"])
    trained = train_pipeline(features, "svm", settings={"C": 3.0, "gamma": 0.01}, num_jobs=1)
    train, test = (classical_vectors(features, split) for split in ("train", "test"))
    assert len(train) == features.num_windows("train") and train.inputs.shape[1] == 174
    assert np.abs(train.inputs).max() > 10, "raw features: the pipeline standardizes"
    found = decision_values(trained.classifiers, test.inputs, features.labels)
    for column in range(3):
        svm = make_pipeline(StandardScaler(), SVC(C=3.0, gamma=0.01, class_weight="balanced"))
        svm.fit(train.inputs.astype(float), train.targets[:, column])
        np.testing.assert_allclose(found[:, column], svm.decision_function(test.inputs.astype(float)), atol=1e-6)
    clips = trained.scores(features, "test")
    of_first_clip = found[test.clip_ids == test.clip_ids[0]].mean(axis=0)
    np.testing.assert_allclose(clips.logits[0], of_first_clip * trained.logits[:, 0] + trained.logits[:, 1])


def test_unknown_labels_and_missing_classes(stored):
    features = hf_audio.load_features(stored[MULTI_LABEL, "classical"])
    windows, labels = classical_vectors(features, "train"), features.labels
    targets = windows.targets.copy()
    targets[:, 2] = 0  # no clip has this class
    targets[windows.clip_ids == windows.clip_ids[0], 1] = np.nan
    given = dataclasses.replace(windows, targets=targets)
    fitted = fit_classifiers("svm", {"C": 1.0}, given, labels, seed=0, num_jobs=1)
    assert list(fitted) == list(labels.names[:2])
    without = given.take(windows.clip_ids != windows.clip_ids[0])
    alone = fit_classifiers("svm", {"C": 1.0}, without, labels, seed=0, num_jobs=1)
    values = [decision_values(one, windows.inputs, labels) for one in (fitted, alone)]
    np.testing.assert_allclose(values[0][:, 1], values[1][:, 1])
    assert np.abs(values[0][:, 0] - values[1][:, 0]).max() > 1e-3
    scale, bias = calibrate(ClipScores(np.arange(4), values[0][:4], windows.targets[:4]), fitted, labels)[2]
    assert (scale, bias) == (0.0, MIN_LOGIT)


def test_calibration_turns_decision_values_into_probabilities():
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (4000, 3))
    several = LabelSpace(CLASSES, MULTI_LABEL)
    trained = dict.fromkeys(CLASSES)
    targets = (random.random(logits.shape) < several.probabilities(logits)).astype(np.float32)
    targets[:50, 1] = np.nan
    found = calibrate(ClipScores(np.arange(4000), 0.1 * logits + 0.3, targets), trained, several)
    np.testing.assert_allclose(found[:, 0], 10, rtol=0.15)
    np.testing.assert_allclose(found[:, 1], -3, atol=0.4)
    one = LabelSpace(CLASSES, SINGLE_LABEL)
    drawn = np.array([random.choice(3, p=row) for row in one.probabilities(logits)])
    found = calibrate(ClipScores(np.arange(4000), 0.1 * logits, np.eye(3)[drawn]), trained, one)
    np.testing.assert_allclose(found, np.tile([10.0, 0.0], (3, 1)), rtol=0.1)
    upside_down = calibrate(ClipScores(np.arange(4000), -logits, targets), trained, several)
    np.testing.assert_array_equal(upside_down, np.tile([1.0, 0.0], (3, 1)))
    np.testing.assert_array_equal(calibrate(None, trained, several), np.tile([1.0, 0.0], (3, 1)))


@pytest.mark.parametrize("classical_model", ["svm", "boosting"])
def test_a_run_folder_has_no_pickle_and_loads_to_an_equal_model(stored, tmp_path, classical_model):
    import skops.io

    features = hf_audio.load_features(stored[MULTI_LABEL, "classical"])
    trained = train_pipeline(features, classical_model, num_jobs=1)
    save_run(trained, tmp_path)
    loaded = load_run(tmp_path, VectorReader(features))
    np.testing.assert_array_equal(loaded.scores(features, "test").logits, trained.scores(features, "test").logits)
    with zipfile.ZipFile(tmp_path / MODEL_FILE) as parts:
        assert {Path(name).suffix for name in parts.namelist()} <= {".json", ".npy"}
    wanted = {"svm": [], "boosting": ["sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"]}[
        classical_model
    ]
    assert skops.io.get_untrusted_types(file=tmp_path / MODEL_FILE) == wanted
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".pkl", ".joblib", ".bin", ".pt")]


def test_embeddings_are_the_inputs_of_the_classifier(stored):
    features = hf_audio.load_features(stored[MULTI_LABEL, "fbank"])
    torch.manual_seed(0)
    speech = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    small = Wav2Vec2Config(**speech, conv_dim=[8] * 7, classifier_proj_size=12, num_conv_pos_embeddings=16)
    spectra = torch.randn(2, features.extractor.max_length, 32)
    for model, values, size in (
        (tiny_model(features), spectra, 32),
        (SpectrogramCNN(SpectrogramCNNConfig(num_labels=3)), spectra, None),
        (Wav2Vec2ForSequenceClassification(small), torch.randn(2, 8000), 12),
    ):
        found = Predictor(model, features.extractor).embed({"input_values": values})
        assert found.shape[0] == 2 and size in (found.shape[1], None)
        with torch.no_grad():
            torch.testing.assert_close(model.classifier(found), model(values).logits)
        assert not model.classifier._forward_pre_hooks
    found = Predictor(tiny_model(features), features.extractor, batch_size=4).embeddings(features, "test")
    assert found.values.shape == (features.num_windows("test"), 32)
    assert found.clip_ids == list(features.splits["test"]["clip_id"])


def test_windows_are_joined_by_clip_and_start(stored):
    classical, fbank = (hf_audio.load_features(stored[MULTI_LABEL, kind]) for kind in ("classical", "fbank"))
    windows = classical_vectors(classical, "test")
    found = Predictor(tiny_model(fbank), fbank.extractor).embeddings(fbank, "test")
    turned = np.random.default_rng(0).permutation(len(found.clip_ids))
    shuffled = dataclasses.replace(
        found,
        values=found.values[turned],
        clip_ids=[found.clip_ids[row] for row in turned],
        starts_s=found.starts_s[turned] + 0.01,
    )
    joined = join(windows, shuffled, "spectra")
    assert len(joined) == len(windows)
    np.testing.assert_array_equal(joined.inputs, np.concatenate([windows.inputs, found.values], axis=1))
    fewer = dataclasses.replace(
        found, values=found.values[1:], clip_ids=found.clip_ids[1:], starts_s=found.starts_s[1:]
    )
    if found.clip_ids[0] == found.clip_ids[1]:
        assert len(join(windows, fewer, "spectra")) == len(windows) - 1
    elsewhere = dataclasses.replace(found, clip_ids=[f"other {name}" for name in found.clip_ids])
    with pytest.raises(InputError, match="7 clips have no window in the same split of spectra"):
        join(windows, elsewhere, "spectra")


def test_unsuitable_inputs_are_refused(stored, tmp_path):
    classical, fbank = (hf_audio.load_features(stored[MULTI_LABEL, kind]) for kind in ("classical", "fbank"))
    with pytest.raises(InputError, match="use --features classical"):
        train_pipeline(fbank)
    with pytest.raises(InputError, match="did you mean 'boosting'"):
        train_pipeline(classical, "bosting")
    longer = dataclasses.replace(fbank, manifest={**fbank.manifest, "hop_s": 0.2})
    with pytest.raises(InputError, match=r"The windows do not match \(hop_s is 0\.4 in .* and 0\.2 in"):
        VectorReader(classical, TrainedNetwork(Predictor(tiny_model(fbank), fbank.extractor), longer))
    recipe = hf_audio.parse_recipe(VALUES, argv=["--dataset", fbank.source])
    with pytest.raises(InputError, match=r"fbank features .* classical: give --features fbank"):
        hf_audio.prepare_features(recipe)
    with pytest.raises(InputError, match="someone/network has no features stored with it"):
        open_network("someone/network")
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="contains the run of a network"):
        claim_folder(tmp_path, overwrite_run=False)
    for argv in (
        ("--svm_c", "-1"),
        ("--svm_gamma", "auto"),
        ("--classical_model", "boosting", "--svm_c", "1"),
        ("--model", "x"),
    ):
        with pytest.raises(InputError):
            hf_audio.parse_recipe(VALUES, argv=list(argv))


def run_recipe(features: Path, folder: Path, *argv: str) -> dict:
    """Runs the stages of a recipe, and publishes the model under the folder's name."""
    paths = ("--dataset", str(features), "--output_dir", str(folder))
    recipe = hf_audio.parse_recipe(VALUES, argv=[*paths, *CUT, "--push_to_hub", *argv])
    features = hf_audio.prepare_features(recipe)
    trained = hf_audio.train_classical(recipe, features)
    report = hf_audio.evaluate_run(recipe, trained)
    hf_audio.publish_run(recipe, trained, report)
    return report


def test_card_code_of_classical_models_runs_without_hf_audio(
    recordings, stored, network_folder, hub, forks_without_hf_audio, token, tmp_path, monkeypatch
):
    """From features via the Hub to another process that has only the card's code: an SVM, boosting, an ensemble."""
    monkeypatch.setattr(sys, "argv", ["recipes/svm_irmas.py"])
    runs = {
        "svm": (MULTI_LABEL, ()),
        "boosting": (SINGLE_LABEL, ("--classical_model", "boosting")),
        "both": (MULTI_LABEL, ("--network", str(network_folder))),
    }
    programs, reports = {}, {}
    for name, (kind, argv) in runs.items():
        folder = recordings[kind]
        reports[name] = run_recipe(stored[kind, "classical"], tmp_path / name, *argv)
        card = hub.repo("models", f"alice/{name}").read("README.md").decode()
        (code,) = re.findall(r"```python\n(.*?)```", card, re.S)
        recording = str(folder / "test-2.wav")
        programs[name] = code.replace("recording.wav", recording), recording
        assert f'"alice/{name}"' in code and str(tmp_path) not in card
        assert not re.search(r"{{|{%|None|nan|\n\n\n", card), "the template was not filled"
    (tmp_path / "programs.json").write_text(json.dumps(programs))
    done = forks_without_hf_audio.run(USE_CARDS, "programs.json", cwd=tmp_path)
    assert done.returncode == 0, done.errors[-3000:]
    found = json.loads(done.output.splitlines()[-1])
    for name in runs:
        stored = read_scores(tmp_path / name)
        clip = next(place for place, clip_id in enumerate(stored.clip_ids) if clip_id.endswith("test-2.wav"))
        scored = dict(zip(stored.labels.names, stored.probabilities[clip], strict=True))
        for label in CLASSES:
            assert found[name][label] == pytest.approx(scored[label], abs=2e-3), (name, label)
            assert found[f"{name} by its handler"][label] == pytest.approx(found[name][label], abs=1e-6)

    assert reports["svm"]["results"]["model"]["test"]["mean_average_precision"] > 0.8
    assert reports["boosting"]["results"]["model"]["test"]["accuracy"] > 0.8
    assert reports["both"]["model"]["network"]["name"] == "cnn"
    published = set(hub.repo("models", "alice/both").paths())
    assert {
        "model.skops",
        "config.json",
        "preprocessor_config.json",
        "classical.py",
        "compiled_librosa.py",
        "given_sound.py",
        "report.json",
        "handler.py",
        "requirements.txt",
    } <= published
    assert {"network/model.safetensors", "network/config.json", "network/spectrogram_cnn.py"} <= published
    assert not [path for path in published if path.startswith(("features", "model.safetensors"))]
    card = ModelCard(hub.repo("models", "alice/svm").read("README.md").decode())
    assert card.data.library_name == "sklearn" and card.data.model_file == "model.skops"
    assert card.data.eval_results and {"skops", "svm"} <= set(card.data.tags)

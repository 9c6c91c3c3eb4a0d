"""Models saved with calibrated scores: the stock pipeline, the Predictor, the tagger and the endpoint return them."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile
import torch
from huggingface_hub import ModelCard
from model_cases import CASES, INSTANCES, NAMES, Instance
from peft import PeftModel
from small_transformers import AST
from tagging_models import USAGE, save_classifier, write_sound
from training_run import sound, tiny_model
from transformers import ASTConfig, ASTForAudioClassification, AutoConfig, AutoModelForAudioClassification, pipeline

import hf_audio
from hf_audio.analysis.model_average import average_models
from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL, LabelSpace
from hf_audio.data.loading.training_digests import TRAINING_DATA, write_training_data
from hf_audio.errors import InputError
from hf_audio.judging.calibrated_models import calibrate_model
from hf_audio.judging.calibration import calibration_facts
from hf_audio.judging.judged_clips import JudgedClips
from hf_audio.judging.scaling import fit_scaling
from hf_audio.models.audio_spectrogram_transformer import ast_from_checkpoint
from hf_audio.models.checkpoints import stock_from_checkpoint
from hf_audio.models.lora import add_lora, merged_model, save_adapter
from hf_audio.models.saving import save_extractor, save_model
from hf_audio.models.scaled_head import add_curves, scale_head
from hf_audio.models.usage import write_usage
from hf_audio.predictor import Predictor
from hf_audio.publishing.push import push_model

NUM_CLIPS, NUM_HEARD = 600, 30
SPREAD, TEMPERATURE = 4.0, 2.5  # standard deviation of the models' logits, and their factor of overconfidence
ONCE = {"fitted_on": "validation"}


def sounds() -> list[np.ndarray]:
    """Short sounds of one window each."""
    random = np.random.default_rng(0)
    return [sound(number % 3, 0.4, random) * random.uniform(0.01, 1) for number in range(NUM_HEARD)]


def too_sure(folder: Path, name: str, task: str) -> Path:
    """Saves a classifier with large logits for `sounds`."""
    predictor = Predictor.load(str(save_classifier(folder, name, task)), device="cpu")
    logits = logits_of(predictor)
    slopes = SPREAD / logits.std(axis=0).astype(np.float64)
    scale_head(predictor.model, slopes, -slopes * logits.mean(axis=0))
    save_model(predictor.model, folder)
    write_usage(folder, USAGE)
    return folder


def logits_of(predictor: Predictor) -> np.ndarray:
    return np.concatenate([predictor.waveform(one, 16_000).logits for one in sounds()])


def judged(labels: LabelSpace, logits: np.ndarray | None = None, windows_per_clip: int = 1) -> JudgedClips:
    """Clips whose labels are drawn with the probabilities of their logits after scaling by TEMPERATURE."""
    random = np.random.default_rng(1)
    if logits is None:
        logits = random.normal(0, SPREAD, (NUM_CLIPS * windows_per_clip, len(labels)))
    of_clips = logits.reshape(-1, windows_per_clip, len(labels)).mean(axis=1)
    truth = labels.probabilities(of_clips / TEMPERATURE)
    targets = random.random(truth.shape) < truth
    if not labels.is_multi_label:
        targets = np.eye(len(labels))[[random.choice(len(labels), p=one) for one in truth]]
    ids = [str(number) for number in range(len(truth))]
    table = pa.table({"clip_id": ids, "group": ids, "split": ["validation"] * len(ids)})
    windows = np.repeat(np.arange(len(ids)), windows_per_clip)
    return JudgedClips("tiny", labels, table, targets.astype(np.float32), logits, windows, np.zeros(len(windows)))


def scaling_of(kind: str, clips: JudgedClips):
    return fit_scaling(kind, clips.window_logits, clips.targets, clips.labels)


def scores_of(folder: Path, labels: LabelSpace) -> np.ndarray:
    """Scores `[sounds, classes]` by transformers' pipeline."""
    options = {"feature_extractor": str(folder), "trust_remote_code": True}
    classifier = pipeline("audio-classification", model=str(folder), device="cpu", **options)
    function = "sigmoid" if labels.is_multi_label else "softmax"
    inputs = [{"raw": one.astype(np.float32), "sampling_rate": 16_000} for one in sounds()]
    answers = classifier(inputs, top_k=len(labels), function_to_apply=function)
    found = [{one["label"]: one["score"] for one in answer} for answer in answers]
    return np.array([[one[name] for name in labels.names] for one in found])


@pytest.mark.parametrize(
    ("name", "task", "kind"),
    [
        ("ast_stock", SINGLE_LABEL, "temperature"),
        ("ast_stock", MULTI_LABEL, "vector"),
        ("cnn", MULTI_LABEL, "isotonic"),
        ("cnn", SINGLE_LABEL, "isotonic"),
    ],
)
def test_the_stock_pipeline_gives_calibrated_scores(name, task, kind, tmp_path, caplog):
    before, after, labels = too_sure(tmp_path / "before", name, task), tmp_path / "after", LabelSpace(NAMES, task)
    clips = judged(labels)
    facts = calibrate_model(str(before), clips, kind, after, **ONCE)
    assert ("fitted on only 600 clips and may make calibration worse" in caplog.text) == (kind == "isotonic")
    heard = logits_of(Predictor.load(str(before), device="cpu"))
    old, new = scores_of(before, labels), scores_of(after, labels)
    np.testing.assert_allclose(old, labels.probabilities(heard), atol=1e-3)
    np.testing.assert_allclose(new, scaling_of(kind, clips).probabilities(heard), atol=1e-3)
    # labels drawn with the planted temperature, enough of them to measure calibration
    often = [np.concatenate([one] * 80) for one in (old, new)]
    targets = judged(labels, np.concatenate([heard] * 80)).targets
    found = [calibration_facts(one, targets, labels)["ece"] for one in often]
    assert found[1] < 0.06 < 0.12 < found[0], found
    assert facts["after"]["ece"] < facts["before"]["ece"]
    assert json.loads((after / "config.json").read_text())["calibration"] == {**scaling_of(kind, clips).facts(), **ONCE}


def test_tagger_endpoint_and_predictor_agree_and_no_decision_changes(tmp_path, hub, token):
    before, labels = too_sure(tmp_path / "before", "cnn", MULTI_LABEL), LabelSpace(NAMES, MULTI_LABEL)
    (before / "README.md").write_text("---\nlicense: cc-by-4.0\ndatasets: [alice/tones, '../x']\n---\n# cnn\n")
    turned = LabelSpace(NAMES[::-1], MULTI_LABEL)  # another dataset's order
    clips = judged(turned, windows_per_clip=3)
    facts = calibrate_model(str(before), clips, "temperature", tmp_path / "after", **ONCE)
    song = write_sound(tmp_path / "song.wav", 2.2)
    tags = {name: hf_audio.load(tmp_path / name)(song) for name in ("before", "after")}
    samples, rate = soundfile.read(song, dtype="float32")
    timed = Predictor.load(str(before), device="cpu").waveform(samples, rate)
    logits = timed.logits.astype(np.float64).mean(axis=0)
    assert len(timed.logits) > 5
    wanted = dict(zip(NAMES, labels.probabilities(logits / facts["scaling"]["temperature"]), strict=True))
    assert tags["after"].scores == pytest.approx(wanted, abs=1e-4)
    handler = EndpointAt(tmp_path / "after")
    found = {one["label"]: one["score"] for one in handler({"inputs": song.read_bytes()})}
    assert found == pytest.approx(wanted, abs=1e-4)
    predictors = [Predictor.load(str(tmp_path / name), device="cpu") for name in ("before", "after")]
    assert predictors[1].usage == USAGE._replace(decision_threshold=facts["threshold"])
    assert facts["decisions_changed"] == 0 and facts["old_threshold"] == USAGE.decision_threshold
    decided = [labels.probabilities(logits_of(one)) >= one.decision_threshold for one in predictors]
    np.testing.assert_array_equal(*decided)
    card = (tmp_path / "after" / "README.md").read_text()
    assert (
        f"**{facts['threshold']:.4f}**" in card
        and "predictions do not change" in card
        and "trust_remote_code=True" in card
    )
    head = ModelCard(card).data
    assert (
        head.license == "cc-by-4.0" and head.datasets == ["alice/tones"] and head.pipeline_tag == "audio-classification"
    )
    push_model(tmp_path / "after", "alice/calibrated", token=token)
    assert {"README.md", "handler.py", "logit_curves.py"} <= set(hub.repo("models", "alice/calibrated").paths())
    assert "sample_windows" in json.loads((tmp_path / "after" / "config.json").read_text())


def EndpointAt(folder: Path):  # noqa: N802
    spec = importlib.util.spec_from_file_location("handler_of_the_test", folder / "handler.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.EndpointHandler(str(folder))


HEADS = [
    one
    for one in INSTANCES
    if one.case.name in {"cnn", "timm_parallel", "wav2vec2", "wav2vec2_stock", "whisper", "ast"}
]


@pytest.mark.parametrize("instance", HEADS, ids=lambda one: one.id)
def test_every_head_can_be_scaled(instance):
    model, inputs = instance.model(), instance.inputs()
    with torch.no_grad():
        before = model(**inputs).logits.double().numpy()
        if instance.head == "arcface":
            with pytest.raises(InputError, match="has one scale for all classes, so vector scaling cannot"):
                scale_head(model, np.array([1, 2, 1, 1]), np.zeros(4))
        slopes, biases = np.array([2.0, 0.5, 1.0, 3.0]), np.array([0.3, -1.0, 0.0, 2.0])
        if instance.head == "arcface":
            slopes, biases = np.full(4, 0.4), np.zeros(4)
        scale_head(model, slopes, biases)
        found = model(**inputs).logits.numpy()
    np.testing.assert_allclose(found, before * slopes + biases, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("task", [SINGLE_LABEL, MULTI_LABEL])
def test_isotonic_curves_are_saved_but_not_used_in_training(task, tmp_path, tiny_features):
    clips = judged(LabelSpace(NAMES, task))
    clips.targets[:, 1] = np.nan if clips.labels.is_multi_label else clips.targets[:, 1]
    scaling = scaling_of("isotonic", clips)
    case = next(case for case in CASES if case.name == "cnn")
    model, inputs = Instance(case, "linear", task).model(), {"input_values": torch.randn(40, 98, 32)}
    with torch.no_grad():
        scale_head(model, np.full(4, 20.0), np.zeros(4))
        before = model(**inputs).logits
        scale_head(model, scaling.slopes, scaling.biases)
        add_curves(model, scaling.curves.knots, scaling.curves.values)
        np.testing.assert_allclose(model(**inputs).logits, scaling.logits(before.numpy()), atol=2e-3)
        exported = torch.export.export(model.logit_curves, (before,)).module()
        torch.testing.assert_close(exported(before), model.logit_curves(before))
        torch.testing.assert_close(model.train()(**inputs).logits, before * float(scaling.slopes[0]))
    assert not any(name.startswith("logit_curves") for name, _ in model.named_parameters())
    save_model(model.eval(), tmp_path)
    save_extractor(case.extractor(), tmp_path)
    again = stock_from_checkpoint(str(tmp_path), clips.labels)
    assert again.logit_curves is None and again.config.logit_curve_points == 0  # training starts uncalibrated
    with pytest.raises(InputError, match="is already calibrated by isotonic scaling"):
        calibrate_model(str(tmp_path), judged(clips.labels), "temperature", tmp_path / "more", **ONCE)
    with pytest.raises(InputError, match="was calibrated by isotonic scaling: average the uncalibrated models"):
        average_models([str(tmp_path), "another"], tiny_features)
    weights = {name: one for name, one in model.state_dict().items() if "curves" not in name}
    save_model(model, tmp_path, weights)
    with pytest.raises(InputError, match=r"lacks 2 weights of its encoder, such as logit_curves\.knots"):
        Predictor.load(str(tmp_path))


def test_a_lora_adapter_gets_the_scaled_head(tmp_path):
    torch.manual_seed(0)
    labels = LabelSpace(NAMES, SINGLE_LABEL)
    sizes = {name: value for name, value in AST.items() if name != "model_type"}
    base = ASTForAudioClassification(ASTConfig(**{**sizes, "max_length": 98}))
    extractor = next(case for case in CASES if case.name == "ast_stock").extractor()
    base.save_pretrained(tmp_path / "base")
    extractor.save_pretrained(tmp_path / "base")
    bins = base.config.num_mel_bins
    model = add_lora(ast_from_checkpoint(str(tmp_path / "base"), labels, 98, bins), 2)
    run = tmp_path / "run"
    save_model(merged_model(model), run)
    save_extractor(extractor, run)
    save_adapter(model, run / "adapter")
    facts = calibrate_model(str(run), judged(labels), "vector", tmp_path / "after", **ONCE)
    config = AutoConfig.from_pretrained(tmp_path / "after")
    fresh = AutoModelForAudioClassification.from_pretrained(
        tmp_path / "base", config=config, ignore_mismatched_sizes=True
    )
    on_base = PeftModel.from_pretrained(fresh, str(tmp_path / "after"), subfolder="adapter").eval()
    merged, windows = Predictor.load(str(tmp_path / "after"), device="cpu").model, torch.randn(3, 98, bins)
    with torch.no_grad():
        before = model.eval()(input_values=windows).logits
        torch.testing.assert_close(on_base(input_values=windows).logits, merged(windows).logits, rtol=1e-4, atol=1e-4)
        wanted = scaling_of("vector", judged(labels)).logits(before.numpy())
        np.testing.assert_allclose(merged(windows).logits, wanted, atol=1e-3)
    assert list(facts["scaling"]["slopes"]) == list(NAMES)
    assert not list(tmp_path.glob(".*"))
    (run / "adapter" / "README.md").unlink()
    calibrate_model(str(run), judged(labels), "temperature", tmp_path / "other", **ONCE)
    assert {path.name for path in (tmp_path / "other" / "adapter").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }


def test_training_data_facts_are_copied_to_the_calibrated_model(tiny_features, tmp_path):
    save_model(tiny_model(tiny_features), tmp_path / "run")
    save_extractor(tiny_features.extractor, tmp_path / "run")
    write_training_data(tmp_path / "run", tiny_features)
    calibrate_model(str(tmp_path / "run"), judged(tiny_features.labels), "temperature", tmp_path / "after", **ONCE)
    found = [(tmp_path / name / TRAINING_DATA).read_bytes() for name in ("run", "after")]
    assert found[0] == found[1]
    assert not (tmp_path / "after" / "handler.py").exists()  # its window length is unknown


def test_a_second_calibration_is_logged_and_reported(tmp_path, caplog):
    labels = LabelSpace(NAMES, MULTI_LABEL)
    save_classifier(tmp_path / "cnn", "cnn")
    calibrate_model(str(tmp_path / "cnn"), judged(labels), "vector", tmp_path / "once", **ONCE)
    with caplog.at_level(logging.WARNING):
        facts = calibrate_model(str(tmp_path / "once"), judged(labels), "temperature", tmp_path / "twice", **ONCE)
    assert "was already calibrated (vector): its scores are now scaled again" in caplog.text
    assert facts["scaling"]["calibrated_before"] == ["vector"]
    assert "was already calibrated, by vector." in (tmp_path / "twice" / "README.md").read_text()
    config = json.loads((tmp_path / "twice" / "config.json").read_text())
    config["calibration"] = {"kind": "\x1b[2J", "calibrated_before": ["vector", {}]}
    (tmp_path / "twice" / "config.json").write_text(json.dumps(config))
    facts = calibrate_model(str(tmp_path / "twice"), judged(labels), "temperature", tmp_path / "more", **ONCE)
    assert facts["scaling"]["calibrated_before"] == ["vector", "unknown", "unknown"]


def test_impossible_calibrations_are_refused(tmp_path):
    labels = LabelSpace(NAMES, MULTI_LABEL)
    cnn, stock = save_classifier(tmp_path / "cnn", "cnn"), save_classifier(tmp_path / "ast", "ast_stock")

    def calibrate(name=cnn, clips=None, kind="temperature", folder="new") -> None:
        calibrate_model(str(name), clips or judged(labels), kind, tmp_path / folder, **ONCE)

    with pytest.raises(InputError, match="Unknown scaling 'isotone': did you mean 'isotonic'"):
        calibrate(kind="isotone")
    with pytest.raises(InputError, match="cnn already exists"):
        calibrate(folder="cnn")
    with pytest.raises(InputError, match=r"ASTForAudioClassification has no place for curves .* use temperature or"):
        calibrate(stock, kind="isotonic")
    with pytest.raises(InputError, match="clips with up to 2 windows"):
        calibrate(clips=judged(labels, windows_per_clip=2), kind="isotonic")
    with pytest.raises(InputError, match=r"has 4 classes \(multi-label\) and the validation clips 2 \(multi-label\)"):
        calibrate(clips=judged(LabelSpace(NAMES[:2], MULTI_LABEL)))
    with pytest.raises(InputError, match=r"validation clips 4 \(single-label\)"):
        calibrate(clips=judged(LabelSpace(NAMES, SINGLE_LABEL)))
    with pytest.raises(InputError, match=r"No temperature .* 600 validation clips .* no better"):
        calibrate(clips=dataclasses.replace(judged(labels), window_logits=-judged(labels).window_logits))
    (cnn / "adapter").mkdir()
    (cnn / "adapter" / "adapter_model.safetensors").touch()
    with pytest.raises(InputError, match="A LoRA adapter cannot hold isotonic scaling"):
        calibrate(kind="isotonic")
    (cnn / "model.skops").touch()
    with pytest.raises(InputError, match=r"is a classical model, .* give a network"):
        calibrate()
    assert not (tmp_path / "new").exists()

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_transformers import (
    KINDS,
    LABELS,
    METADATA,
    WHISPER,
    assert_same_encoder,
    encoder_of,
    headed_from_checkpoint,
    headed_of,
    logits,
    stock_of,
    windows,
    without_gradient,
)
from transformers import (
    AutoConfig,
    Wav2Vec2FeatureExtractor,
    WhisperForConditionalGeneration,
    pipeline,
)

from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL, LabelSpace
from hf_audio.errors import InputError
from hf_audio.losses import loss_for
from hf_audio.models.checkpoints import (
    TRANSFORMER_PRESETS,
    stock_from_checkpoint,
    transformer_from_checkpoint,
    transformer_from_scratch,
)
from hf_audio.models.freezing import freeze
from hf_audio.models.transformer_classifier import TransformerClassifier


@pytest.fixture(params=KINDS)
def kind(request) -> str:
    return request.param


def test_a_linear_head_stays_a_stock_class(checkpoints, kind):
    model = stock_of(checkpoints, kind)
    assert type(model).__module__.startswith("transformers.models.")
    config = model.config
    assert (config.id2label, config.label2id, config.problem_type) == (LABELS.id2label, LABELS.label2id, MULTI_LABEL)
    encoder = model.encoder if kind == "whisper" else model.base_model
    assert_same_encoder(encoder, encoder_of(checkpoints, kind), kind)
    assert all(weights.dtype == torch.float32 for weights in model.parameters())
    targets = torch.tensor([[1.0, 0, 1], [0, 1, 0]])
    loss_for(LABELS)(model.train()(windows(kind)).logits, targets).backward()
    assert without_gradient(model) == []


def test_a_checkpoint_of_the_same_classes_keeps_its_head(checkpoints, tmp_path):
    first = stock_of(checkpoints, "hubert").eval()
    first.save_pretrained(tmp_path)
    again = stock_from_checkpoint(str(tmp_path), LABELS).eval()
    assert torch.equal(logits(again, windows("hubert")), logits(first, windows("hubert")))
    others = LabelSpace(("bell", "violin", "hum"), MULTI_LABEL)  # the same number, in another order
    other = stock_from_checkpoint(str(tmp_path), others)
    assert not torch.equal(other.classifier.weight, first.classifier.weight)
    assert torch.equal(other.projector.weight, first.projector.weight)
    more = stock_from_checkpoint(str(tmp_path), LabelSpace(("a", "b", "c", "d"), SINGLE_LABEL))
    assert logits(more, windows("hubert")).shape == (2, 4) and more.config.problem_type == SINGLE_LABEL


def test_shorter_windows_for_whisper_use_its_first_position_embeddings(checkpoints):
    long = encoder_of(checkpoints, "whisper").embed_positions.weight
    model = stock_of(checkpoints, "whisper")
    sinusoids = WhisperForConditionalGeneration(AutoConfig.for_model(**WHISPER)).model.encoder.embed_positions.weight
    assert model.encoder.embed_positions.weight.shape == (50, 32) and long.shape == (100, 32)
    assert torch.equal(model.encoder.embed_positions.weight, sinusoids[:50])


def test_settings_decide_whether_the_class_is_stock(checkpoints):
    name = checkpoints["wav2vec2"]
    assert not isinstance(transformer_from_checkpoint(name, LABELS), TransformerClassifier)
    assert not isinstance(
        transformer_from_checkpoint(name, LABELS, head="linear", head_sizes=[]), TransformerClassifier
    )
    for settings in ({"head": "fluffy"}, {"metadata": METADATA}, {"encoder": "convolutional"}, {"head_dropout": 0.1}):
        assert isinstance(transformer_from_checkpoint(name, LABELS, **settings), TransformerClassifier), settings


def test_our_own_checkpoints_are_fine_tuned_too(checkpoints, tmp_path):
    model = headed_of(checkpoints, "wav2vec2", head="fluffy", head_sizes=[8])
    model.save_pretrained(tmp_path)
    same = stock_from_checkpoint(str(tmp_path), LABELS)
    assert type(same) is TransformerClassifier
    assert torch.equal(logits(same.eval(), windows("wav2vec2")), logits(model, windows("wav2vec2")))
    other = stock_from_checkpoint(str(tmp_path), LabelSpace(("a", "b", "c", "d"), SINGLE_LABEL))
    assert logits(other, windows("wav2vec2")).shape == (2, 4)
    assert_same_encoder(other.backbone, model.backbone, "wav2vec2")


def test_the_mini_preset_is_a_stock_class_with_a_frame_every_20_ms():
    torch.manual_seed(0)
    model = transformer_from_scratch("wav2vec2-mini", LABELS)
    assert type(model).__name__ == "Wav2Vec2ForSequenceClassification"
    assert model.num_parameters() < 1.5e6 and set(TRANSFORMER_PRESETS) == {"wav2vec2-mini"}
    inputs = torch.randn(2, 16_000)
    outputs = model(inputs, output_hidden_states=True)
    assert outputs.hidden_states[-1].shape == (2, 49, 128)
    loss_for(LABELS)(outputs.logits, torch.tensor([[1.0, 0, 1], [0, 1, 0]])).backward()
    assert without_gradient(model) == []
    assert torch.nn.utils.clip_grad_norm_(model.parameters(), 1e9) < 50
    smaller = transformer_from_scratch("wav2vec2-mini", LABELS, num_hidden_layers=1)
    assert len(smaller.wav2vec2.encoder.layers) == 1
    fluffy = transformer_from_scratch("wav2vec2-mini", LABELS, head="fluffy", encoder="convolutional")
    assert logits(fluffy, inputs).shape == (2, 3) and fluffy.num_parameters() < 150_000


def test_a_stock_pipeline_gives_several_labels(checkpoints, tmp_path):
    model = stock_of(checkpoints, "wav2vec2").eval()
    model.save_pretrained(tmp_path)
    extractor = Wav2Vec2FeatureExtractor()
    extractor.save_pretrained(tmp_path)
    waveform = windows("wav2vec2")[0].numpy()
    classifier = pipeline("audio-classification", model=str(tmp_path), device="cpu")
    answers = classifier(waveform, top_k=None, function_to_apply="sigmoid")  # the default only since transformers 5.21
    inputs = extractor(waveform, sampling_rate=16_000, return_tensors="pt")["input_values"]
    expected = dict(zip(LABELS.names, LABELS.probabilities(logits(model, inputs).numpy())[0], strict=True))
    assert {one["label"]: one["score"] for one in answers} == pytest.approx(expected, abs=1e-5)


def trained_names(model) -> set[str]:
    return {name for name, weights in model.named_parameters() if weights.requires_grad}


def test_freezing(checkpoints, kind):
    for model, head in (
        (stock_of(checkpoints, kind), {"classifier", "projector"}),
        (headed_of(checkpoints, kind), {"classifier"}),
    ):
        before = trained_names(model)
        freeze(model, "none")
        assert trained_names(model) == before
        if kind == "ast":
            with pytest.raises(InputError, match=r"--freeze convolutional is for Wav2Vec2.*use --freeze backbone"):
                freeze(model, "convolutional")
        else:
            freeze(model, "convolutional")
            frozen = before - trained_names(model)
            assert frozen and all("feature_extractor" in name or ".conv" in name for name in frozen)
            loss_for(LABELS)(model.train()(windows(kind)).logits, torch.ones(2, 3)).backward()
            assert without_gradient(model) == []
        freeze(model, "backbone")
        assert {name.split(".")[0] for name in trained_names(model)} <= head
        assert "classifier" in {name.split(".")[0] for name in trained_names(model)}
    with pytest.raises(InputError, match=r"Unknown freeze 'backbon': did you mean 'backbone'\?"):
        freeze(model, "backbon")


def damaged(checkpoint: str, folder: Path, keep=lambda name: True) -> str:
    """A copy of a checkpoint without some of its weights."""
    folder.mkdir()
    (folder / "config.json").write_text((Path(checkpoint) / "config.json").read_text())
    tensors = {name: one for name, one in load_file(f"{checkpoint}/model.safetensors").items() if keep(name)}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return str(folder)


def test_a_checkpoint_without_all_of_its_encoder_is_refused(checkpoints, tmp_path):
    assert stock_from_checkpoint(damaged(checkpoints["wav2vec2"], tmp_path / "whole"), LABELS)
    name = damaged(checkpoints["wav2vec2"], tmp_path / "a", lambda name: "layers.1.feed_forward" not in name)
    with pytest.raises(InputError, match=r"lacks 4 weights of its encoder, such as wav2vec2\.encoder\.layers\.1\.feed"):
        stock_from_checkpoint(name, LABELS)
    name = damaged(checkpoints["wav2vec2"], tmp_path / "b")
    config = json.loads((tmp_path / "b" / "config.json").read_text())
    (tmp_path / "b" / "config.json").write_text(json.dumps(config | {"intermediate_size": 40}))
    with pytest.raises(InputError, match=r"lacks 6 weights of its encoder"):
        headed_from_checkpoint(name, LABELS, head="fluffy")


def test_pickled_weights_are_not_loaded(checkpoints, tmp_path):
    name = damaged(checkpoints["hubert"], tmp_path / "pickled")
    torch.save(load_file(f"{name}/model.safetensors"), f"{name}/pytorch_model.bin")
    (tmp_path / "pickled" / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"has no model\.safetensors, and pickled weights are not loaded") as caught:
        stock_from_checkpoint(name, LABELS)
    assert "\n" not in str(caught.value)


def test_unsuitable_checkpoints_are_one_sentence(checkpoints, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    for call, message in (
        (lambda: stock_from_checkpoint(str(tmp_path), LABELS), "is a bert model, which does not classify audio"),
        (lambda: headed_of(checkpoints, "ast", encoder="convolutional"), "needs a model of waveforms"),
        (lambda: headed_of(checkpoints, "whisper", encoder="convolutional"), "such as wav2vec2, found whisper"),
        (lambda: headed_of(checkpoints, "hubert", encoder="conv"), "encoder must be one of full, convolutional"),
        (lambda: headed_of(checkpoints, "hubert", pooling="max"), "pooling one of mean, cls, found 'full' and 'max'"),
        (lambda: headed_of(checkpoints, "hubert", pooling="cls"), "Only AST has tokens to pool, found hubert"),
        (lambda: headed_of(checkpoints, "hubert", head="flufy"), "Unknown head 'flufy'"),
        (lambda: headed_of(checkpoints, "hubert", head_size=[8]), "Unknown model option 'head_size': did you mean"),
        (lambda: transformer_from_checkpoint(checkpoints["hubert"], LABELS, head_sizes=[8]), "has no hidden layers"),
        (lambda: transformer_from_scratch("wav2vec2-mini", LABELS, hiddensize=8), "did you mean 'hidden_size'?"),
        (lambda: transformer_from_scratch("wav2vec2-min", LABELS), "did you mean 'wav2vec2-mini'?"),
        (lambda: stock_from_checkpoint(str(tmp_path / "nowhere"), LABELS), "Cannot load checkpoint"),
    ):
        with pytest.raises(InputError) as caught:
            call()
        assert message in str(caught.value) and "\n" not in str(caught.value)

from __future__ import annotations

import json
from types import SimpleNamespace

import huggingface_hub
import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    ASTConfig,
    ASTFeatureExtractor,
    ASTForAudioClassification,
    AutoModelForAudioClassification,
    pipeline,
)

from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL, LabelSpace
from hf_audio.errors import InputError
from hf_audio.kinds import KINDS
from hf_audio.losses import loss_for
from hf_audio.models import PRESETS, build_model
from hf_audio.models.audio_spectrogram_transformer import ast_from_checkpoint, ast_from_scratch, resize_positions
from hf_audio.models.foreign_checkpoint import Checkpoint

LABELS = LabelSpace(("bell", "hiss", "hum"), SINGLE_LABEL)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A small AST with the AudioSet model's patches: 12 x 101 for a window of 1024 frames. It has 7 classes."""
    torch.manual_seed(0)
    config = ASTConfig(hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48, num_labels=7)
    model = ASTForAudioClassification(config)
    for token in model.audio_spectrogram_transformer.embeddings.parameters():
        torch.nn.init.normal_(token, std=0.5)
    folder = tmp_path_factory.mktemp("checkpoint")
    model.save_pretrained(folder)
    ASTFeatureExtractor().save_pretrained(folder)
    return folder


def stock(folder):
    return ASTForAudioClassification.from_pretrained(folder).audio_spectrogram_transformer.embeddings


def gradient_norm(model, features, targets):
    loss_for(LABELS)(model(features).logits, targets).backward()
    return torch.nn.utils.clip_grad_norm_(model.parameters(), 1e9).item()


def test_gradients_of_an_untrained_model_are_small_unlike_the_stock_models():
    torch.manual_seed(0)
    features, targets = torch.randn(4, 98, 64) / 2, torch.eye(3)[[0, 1, 2, 0]]
    model = ast_from_scratch(LABELS, 98, 64, hidden_size=64, num_layers=2, num_heads=2)
    assert gradient_norm(model, features, targets) < 50
    stock_model = ASTForAudioClassification(
        ASTConfig(**{**model.config.to_dict(), "layer_norm_eps": ASTConfig().layer_norm_eps})
    )
    assert gradient_norm(stock_model, features, targets) > 500  # why we have our own; fails once upstream is fixed


def test_a_window_smaller_than_a_patch_is_refused():
    with pytest.raises(InputError, match=r"10 frames and 64 mel bins is smaller than one patch.*at least 0\.17 s"):
        ast_from_scratch(LABELS, 10, 64)


@pytest.mark.parametrize(("num_frames", "columns", "first"), [(298, 29, 36), (1024, 101, 0), (498, 49, 26)])
def test_shorter_windows_use_the_center_of_the_checkpoints_positions(checkpoint, num_frames, columns, first):
    old = stock(checkpoint)
    new = ast_from_checkpoint(str(checkpoint), LABELS, num_frames, 128).audio_spectrogram_transformer.embeddings
    assert torch.equal(new.position_embeddings[:, :2], old.position_embeddings[:, :2])
    assert torch.equal(new.cls_token, old.cls_token)
    assert torch.equal(new.distillation_token, old.distillation_token)
    grid = old.position_embeddings[0, 2:].reshape(12, 101, 24)
    assert torch.equal(new.position_embeddings[0, 2:], grid[:, first : first + columns].reshape(-1, 24))


def test_positions_of_a_longer_window_are_interpolated(checkpoint):
    old = stock(checkpoint)
    new = ast_from_checkpoint(str(checkpoint), LABELS, 2048, 128).audio_spectrogram_transformer.embeddings
    assert new.position_embeddings.shape == (1, 2 + 12 * 204, 24)
    assert torch.equal(new.position_embeddings[:, :2], old.position_embeddings[:, :2])
    assert new.position_embeddings.abs().mean() > 0.1
    ramp = torch.arange(101.0).repeat(12, 1).reshape(1, -1, 1)
    longer = resize_positions(torch.cat([torch.zeros(1, 2, 1), ramp], 1), (12, 101), (12, 204))[0, 2:].reshape(12, 204)
    assert torch.equal(longer[0], longer[11])
    assert longer[0, 0] == 0 and longer[0, -1] == 100
    middle = longer[0, 2:-2].diff()
    assert torch.allclose(middle, torch.full_like(middle, 101 / 204), atol=1e-4)


def test_all_weights_but_head_and_positions_are_the_checkpoints(checkpoint):
    old = ASTForAudioClassification.from_pretrained(checkpoint)
    new = ast_from_checkpoint(str(checkpoint), LABELS, 1024, 128)
    changed = {
        name
        for name, value in new.state_dict().items()
        if value.shape != old.state_dict()[name].shape or not torch.equal(value, old.state_dict()[name])
    }
    assert changed == {"classifier.dense.weight", "classifier.dense.bias"}
    features = torch.randn(2, 1024, 128)
    with torch.no_grad():
        states = [model.eval().audio_spectrogram_transformer(features).pooler_output for model in (old, new)]
    assert torch.equal(*states)


def test_a_cut_model_survives_saving(checkpoint, tmp_path):
    model = ast_from_checkpoint(str(checkpoint), LABELS, 298, 128).eval()
    model.save_pretrained(tmp_path)
    reloaded = AutoModelForAudioClassification.from_pretrained(tmp_path).eval()
    features = torch.randn(2, 298, 128)
    with torch.no_grad():
        assert torch.equal(model(features).logits, reloaded(features).logits)
    assert str(checkpoint) not in (tmp_path / "config.json").read_text()


@pytest.mark.parametrize("problem_type", [SINGLE_LABEL, MULTI_LABEL])
def test_a_stock_pipeline_gives_the_right_labels_and_scores(tmp_path, problem_type):
    labels = LabelSpace(("bell", "hiss", "hum"), problem_type)
    model = ast_from_scratch(labels, 98, 64, hidden_size=32, num_layers=1, num_heads=2).eval()
    extractor = ASTFeatureExtractor(num_mel_bins=64, max_length=98, mean=-5.0, std=3.0)
    model.save_pretrained(tmp_path)
    extractor.save_pretrained(tmp_path)
    waveform = np.random.default_rng(0).normal(size=16000).astype(np.float32) / 10
    scores = pipeline("audio-classification", model=str(tmp_path), device="cpu")(
        waveform, top_k=None, function_to_apply="sigmoid" if labels.is_multi_label else "softmax"
    )
    with torch.no_grad():
        logits = model(**extractor(waveform, sampling_rate=16000, return_tensors="pt")).logits
    expected = dict(zip(labels.names, labels.probabilities(logits.numpy())[0], strict=True))
    assert {entry["label"]: entry["score"] for entry in scores} == pytest.approx(expected, abs=1e-5)


def test_a_3_s_window_costs_a_third_of_the_padded_10_s_one():
    def forward_flops(num_frames):
        with torch.device("meta"):
            model = ASTForAudioClassification(ASTConfig(max_length=num_frames, num_labels=11)).eval()
            features = torch.empty(1, num_frames, 128)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(features)
        return counter.get_total_flops()

    padded, window = forward_flops(1024), forward_flops(298)
    print(f"1024 frames: {padded / 1e9:.1f} GFLOPs, 298 frames: {window / 1e9:.1f}, ratio {padded / window:.2f}")
    assert padded / window >= 3.4


def features_of(labels=LABELS, **extractor):
    settings = {"max_length": 98, "num_mel_bins": 128, **extractor}
    return SimpleNamespace(kind=KINDS["fbank"], labels=labels, extractor=ASTFeatureExtractor(**settings))


def test_a_preset_is_built_for_the_features():
    model = build_model("ast-tiny", features_of(max_length=298))
    assert model.config.id2label == LABELS.id2label
    assert model.config.label2id == LABELS.label2id
    assert model.config.problem_type == SINGLE_LABEL
    assert model(torch.zeros(1, 298, 128)).logits.shape == (1, 3)
    assert 1.5e6 < sum(parameter.numel() for parameter in model.parameters()) < 2.5e6


def test_new_weights_depend_only_on_the_seed():
    state = torch.random.get_rng_state()
    one, same, other = (build_model("ast-tiny", features_of(), seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["classifier.dense.weight"], other["classifier.dense.weight"])


def test_a_misspelled_preset_suggests_the_nearest():
    with pytest.raises(InputError, match=r"Unknown model 'ast-tinny': did you mean 'ast-tiny'\?"):
        build_model("ast-tinny", features_of())
    assert "ast-base" in PRESETS


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "wav2vec2"}))
    with pytest.raises(InputError, match=r"is a wav2vec2 model, not an Audio Spectrogram Transformer: try MIT/ast"):
        ast_from_checkpoint(str(tmp_path), LABELS, 98, 128)


def test_other_mel_bins_are_refused(checkpoint):
    with pytest.raises(InputError, match=r"trained on 128 mel bins, but the features have 64.*--num_mel_bins 128"):
        ast_from_checkpoint(str(checkpoint), LABELS, 98, 64)


def test_features_of_another_sampling_rate_are_refused(checkpoint):
    with pytest.raises(InputError, match="sampling_rate"):
        build_model(str(checkpoint), features_of(sampling_rate=22050))


def test_an_unknown_repository_is_refused(hub):
    with pytest.raises(InputError, match=r"Cannot load checkpoint 'nobody/nothing' \(.*\): check the name") as caught:
        build_model("nobody/nothing", features_of())
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_an_unreachable_hub_is_reported_as_such(checkpoint, hub, token, monkeypatch, caplog):
    """The cache is not used silently if the Hub rejects the token."""
    api = huggingface_hub.HfApi(token=token)
    api.create_repo("alice/cached", private=True)
    api.upload_folder(repo_id="alice/cached", folder_path=checkpoint)
    commit = api.model_info("alice/cached").sha
    assert Checkpoint("alice/cached", token).commit == commit and Checkpoint("alice/cached", token).settings
    assert not caplog.messages
    found = Checkpoint("alice/cached", "hf_" + "x" * 34)
    assert found.settings and found.commit == commit
    (told,) = caplog.messages
    assert "alice/cached" in told and "token" in told and commit in told
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert Checkpoint("alice/cached").settings
    with pytest.raises(InputError, match="the cache does not have its preprocessor_config"):
        build_model("nobody/nothing", features_of())
    with pytest.raises(InputError, match=r"the cache does not have its model\.safetensors"):
        Checkpoint("nobody/nothing").weights()
    with pytest.raises(
        InputError, match=r"'runs/a/b' \(it is neither a folder here nor a NAME or USER/NAME on the Hub\)"
    ):
        Checkpoint("runs/a/b").weights()


def test_an_unfinished_checkpoint_is_refused(checkpoint, tmp_path):
    (tmp_path / "config.json").write_text((checkpoint / "config.json").read_text())
    with pytest.raises(InputError, match="Cannot load checkpoint"):
        ast_from_checkpoint(str(tmp_path), LABELS, 98, 128)

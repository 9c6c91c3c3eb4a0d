from __future__ import annotations

import pytest
import torch
from small_transformers import (
    KINDS,
    LABELS,
    METADATA,
    WAVEFORM_KINDS,
    assert_same_encoder,
    encoder_of,
    headed_from_checkpoint,
    headed_of,
    logits,
    windows,
    without_gradient,
)
from torch.nn import functional
from transformers import (
    AutoConfig,
    AutoModelForAudioClassification,
    Wav2Vec2Config,
)

from hf_audio.data.index.labels import MULTI_LABEL, LabelSpace
from hf_audio.losses import loss_for
from hf_audio.models.transformer_backbone import min_samples
from hf_audio.models.transformer_classifier import TransformerClassifier, TransformerClassifierConfig


@pytest.fixture(params=KINDS)
def kind(request) -> str:
    return request.param


@pytest.mark.parametrize("kind", WAVEFORM_KINDS)
def test_nothing_is_masked_or_skipped_in_training(checkpoints, kind):
    """The checkpoints' own settings skip layers, which would make two processes wait for each other."""
    model = headed_of(checkpoints, kind)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "dropout", None), float):
            module.dropout = 0.0
    evaluated = logits(model, windows(kind))
    for _ in range(5):
        torch.testing.assert_close(logits(model.train(), windows(kind)), evaluated)


def test_any_head_can_be_put_on_the_encoder_of_a_checkpoint(checkpoints, kind, tmp_path):
    model = headed_of(checkpoints, kind, head="deep", head_sizes=[8], metadata=METADATA)
    assert_same_encoder(model.backbone, encoder_of(checkpoints, kind), kind)
    assert model.name_or_path == checkpoints[kind]
    inputs, genre = windows(kind), torch.tensor([[1], [2]])
    assert not torch.allclose(logits(model, inputs, metadata=genre), logits(model, inputs))
    model.save_pretrained(tmp_path)
    loaded = AutoModelForAudioClassification.from_pretrained(tmp_path)
    assert type(loaded) is TransformerClassifier and checkpoints[kind] not in (tmp_path / "config.json").read_text()
    found = loaded(**{loaded.main_input_name: inputs}, metadata=genre).logits
    torch.testing.assert_close(found, model(inputs, metadata=genre).logits, rtol=0, atol=1e-6)
    eager = AutoModelForAudioClassification.from_pretrained(tmp_path, attn_implementation="eager")
    assert eager.backbone.config._attn_implementation == "eager"
    torch.testing.assert_close(logits(eager, inputs, metadata=genre), found)
    targets = torch.tensor([[1.0, 0, 1], [0, 1, 0]])
    loss = model.train()(inputs, labels=targets, metadata=genre).loss
    loss.backward()
    assert without_gradient(model) == []
    expected = functional.binary_cross_entropy_with_logits(logits(model.eval(), inputs, metadata=genre), targets)
    torch.testing.assert_close(model(inputs, labels=targets, metadata=genre).loss, expected)


@pytest.mark.parametrize("kind", ["wav2vec2", "whisper", "ast"])
def test_the_embedding_is_the_pooled_output_of_the_encoder(checkpoints, kind):
    size = {"ast": {"num_frames": 198, "num_bins": 32}, "whisper": {"num_frames": 200}}.get(kind, {})
    inputs = torch.randn({"ast": (2, 198, 32), "whisper": (2, 16, 200)}.get(kind, (2, 1600)))
    model = headed_from_checkpoint(checkpoints[kind], LABELS, **size).eval()
    with torch.no_grad():
        outputs = encoder_of(checkpoints, kind)(inputs)
        expected = outputs.pooler_output if kind == "ast" else outputs.last_hidden_state.mean(dim=1)
        torch.testing.assert_close(model.embed(inputs), expected)
        if kind == "ast":
            patches = headed_from_checkpoint(checkpoints[kind], LABELS, **size, pooling="mean").eval()
            torch.testing.assert_close(patches.embed(inputs), outputs.last_hidden_state[:, 2:].mean(dim=1))


@pytest.mark.parametrize("encoder", ["full", "convolutional"])
def test_padding_changes_nothing_for_encoders_that_take_a_mask(checkpoints, encoder):
    model = headed_of(checkpoints, "wav2vec2-layer", encoder=encoder)
    short = windows("wav2vec2-layer")
    padded = functional.pad(short, (0, 1234))
    mask = functional.pad(torch.ones_like(short, dtype=torch.long), (0, 1234))
    expected = logits(model, short)
    torch.testing.assert_close(logits(model, padded, attention_mask=mask), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(logits(model, short, attention_mask=mask[:, :1600]), expected, rtol=0, atol=1e-5)
    assert not torch.allclose(logits(model, padded), expected, atol=1e-5)  # so the mask is needed


@pytest.mark.parametrize("kind", ["wav2vec2", "hubert", "wavlm"])
@pytest.mark.parametrize("encoder", ["full", "convolutional"])
def test_a_mask_is_ignored_by_encoders_pretrained_without_one(checkpoints, kind, encoder):
    model = headed_of(checkpoints, kind, encoder=encoder)
    padded = functional.pad(windows(kind), (0, 800))
    mask = (padded != 0).long()
    assert torch.equal(logits(model, padded, attention_mask=mask), logits(model, padded))


def test_the_mask_of_whisper_selects_the_averaged_frames(checkpoints):
    model, inputs = headed_of(checkpoints, "whisper"), windows("whisper")
    mask = (torch.arange(100) < 60).long().expand(2, -1)
    with torch.no_grad():
        frames = model.backbone(inputs).last_hidden_state
        torch.testing.assert_close(model.embed(inputs, mask), frames[:, :30].mean(dim=1))
        torch.testing.assert_close(model.embed(inputs), frames.mean(dim=1))


@pytest.mark.parametrize("encoder", ["full", "convolutional"])
@pytest.mark.parametrize("kind", WAVEFORM_KINDS)
def test_the_shortest_clips_are_classified(checkpoints, kind, encoder):
    model = headed_of(checkpoints, kind, encoder=encoder)
    assert model.min_samples == 400
    for num_samples in (1, 399, 400):
        samples = torch.randn(2, num_samples)
        mask = torch.ones(2, num_samples, dtype=torch.long)
        alone = logits(model, samples, attention_mask=mask)
        assert alone.isfinite().all()
        if kind == "wav2vec2-layer":  # also in a batch with a long one
            padded = functional.pad(samples, (0, 1600 - num_samples))
            longer_mask = functional.pad(mask, (0, 1600 - num_samples))
            longer_mask[1] = 1
            batched = logits(model, padded, attention_mask=longer_mask)
            torch.testing.assert_close(batched[0], alone[0], rtol=0, atol=1e-5)


def test_minimum_number_of_samples_for_a_frame():
    assert min_samples(Wav2Vec2Config()) == 400
    assert min_samples(AutoConfig.for_model("sew")) == 720  # two frames, because its transformer sees every second one
    assert min_samples(AutoConfig.for_model("whisper")) == 0


@pytest.mark.parametrize("kind", WAVEFORM_KINDS)
def test_the_convolutional_encoder_without_its_transformer(checkpoints, kind, tmp_path):
    whole = headed_of(checkpoints, kind)
    model = headed_of(checkpoints, kind, encoder="convolutional")
    assert model.backbone.num_parameters() < whole.backbone.num_parameters() / 2
    wanted = encoder_of(checkpoints, kind)
    convolutions = wanted.feature_extractor.state_dict()
    found = model.backbone.state_dict()
    assert {name.removeprefix("feature_extractor.") for name in found if "extractor" in name} == convolutions.keys()
    with torch.no_grad():
        frames = wanted.feature_extractor(windows(kind)).transpose(1, 2)
        expected = wanted.feature_projection.layer_norm(frames).mean(dim=1)
        torch.testing.assert_close(model.embed(windows(kind)), expected)
    model.save_pretrained(tmp_path)
    loaded = AutoModelForAudioClassification.from_pretrained(tmp_path)
    assert torch.equal(logits(loaded, windows(kind)), logits(model, windows(kind)))


def test_without_its_transformer_wav2vec2_base_is_small():
    with torch.device("meta"):
        settings = {"backbone": Wav2Vec2Config().to_diff_dict(), "num_labels": 11, "head": "fluffy"}
        models = [
            TransformerClassifier(TransformerClassifierConfig(**settings, encoder=encoder))
            for encoder in ("full", "convolutional")
        ]
    whole, convolutions = (model.backbone.num_parameters() for model in models)
    assert 94e6 < whole < 95e6 and 4.1e6 < convolutions < 4.3e6


def test_fluffy_learns_on_the_convolutions(checkpoints):
    """As in recipes/fluffy_irmas.py: one network for each of 11 instruments on Wav2Vec2's feature encoder."""
    labels = LabelSpace(tuple("abcdefghijk"), MULTI_LABEL)
    model = headed_of(checkpoints, "wav2vec2", labels, encoder="convolutional", head="fluffy", head_sizes=[16]).train()
    inputs = torch.randn(8, 1600)
    targets = (torch.rand(8, 11) < 0.3).float()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(15):
        loss = loss_for(labels)(model(input_values=inputs).logits, targets)
        optimizer.zero_grad()
        loss.backward()
        assert without_gradient(model) == []
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.85 * losses[0]


@pytest.mark.parametrize("kind", ["wav2vec2-layer", "wavlm", "whisper"])
def test_bf16_autocast_is_close(checkpoints, kind):
    model = headed_of(checkpoints, kind, head="fluffy")
    inputs = windows(kind)
    expected = logits(model, inputs)
    with torch.autocast("cpu", torch.bfloat16):
        found = logits(model, inputs)
        loss = model.train()(inputs, labels=torch.ones(2, 3)).loss
    loss.backward()
    assert without_gradient(model) == []
    torch.testing.assert_close(found.float(), expected, rtol=0, atol=0.05)

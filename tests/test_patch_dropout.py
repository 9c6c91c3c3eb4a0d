"""Patch dropout: an exact number of patches stay, with their positions, in training only, however a model is run."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from training_run import batch_of, tiny_model, trainer_of
from transformers import ASTConfig, ASTForAudioClassification

from hf_audio import InputError, parse_recipe, prepare_features
from hf_audio.config import AugmentConfig
from hf_audio.models.checkpoints import with_head
from hf_audio.models.lora import add_lora, merged_model
from hf_audio.training import PatchDropout
from hf_audio.training.objective import Places
from hf_audio.training.patch_dropout import chosen

ROWS, COLUMNS, SIZE = 4, 9, 16
PLACES = Places(0, 3, range(6))


def model_of(stride: int = SIZE, **more) -> ASTForAudioClassification:
    """Two layers for windows of 4 x 9 patches of 16 x 16, or more patches with a smaller stride."""
    torch.manual_seed(0)
    config = ASTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, patch_size=SIZE,
        frequency_stride=stride, time_stride=stride, max_length=COLUMNS * SIZE, num_mel_bins=ROWS * SIZE, num_labels=3,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, **more,
    )  # fmt: skip
    model = ASTForAudioClassification(config)
    for token in model.audio_spectrogram_transformer.embeddings.parameters():
        nn.init.normal_(token, std=0.5)
    return model.train()


def windows(count: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    features = torch.randn(count, COLUMNS * SIZE, ROWS * SIZE, generator=torch.Generator().manual_seed(1))
    return features, torch.full((count,), COLUMNS * SIZE)


def embedded(model) -> list[torch.Tensor]:
    """A list that collects the first layer's input at each call."""
    seen: list[torch.Tensor] = []
    model.audio_spectrogram_transformer.layers[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    return seen


@pytest.mark.parametrize(
    ("shares", "count"),
    [((0.4, 0.0, 0.0), 22), ((0.0, 0.34, 0.0), 24), ((0.0, 0.0, 0.5), 18), ((0.5, 0.34, 0.25), 9)],
)
def test_an_exact_number_of_patches_stay_with_their_positions(shares, count):
    model, drop = model_of(), PatchDropout(*shares)
    features, num_frames = windows()
    whole = model.audio_spectrogram_transformer.embeddings(features)
    drop.attach(model)
    seen = embedded(model)
    drop.around(model, PLACES, num_frames)(input_values=features)
    kept = drop.kept(drop.draw(PLACES), num_frames)
    assert kept.shape == (6, count) and seen[0].shape == (6, 2 + count, 16)
    assert len({tuple(row) for row in kept.tolist()}) > 3, "windows keep different patches"
    assert (kept.diff(dim=1) > 0).all() and kept.min() >= 0 and kept.max() < ROWS * COLUMNS
    for window, patches in enumerate(kept):
        torch.testing.assert_close(seen[0][window], whole[window, [0, 1, *(2 + patches).tolist()]])
    if not shares[0]:
        rows, columns = ({tuple(sorted(set(row))) for row in one.tolist()} for one in (kept // COLUMNS, kept % COLUMNS))
        assert {len(one) for one in rows} == {ROWS - round(shares[2] * ROWS)}
        assert {len(one) for one in columns} == {COLUMNS - round(shares[1] * COLUMNS)}


def test_every_patch_is_dropped_equally_often():
    drop = PatchDropout(0.25, 0.3, 0.25)
    drop.attach(model_of())
    places = Places(0, 0, range(3000))
    kept = drop.kept(drop.draw(places), torch.full((3000,), COLUMNS * SIZE))
    shares = torch.bincount(kept.flatten(), minlength=ROWS * COLUMNS) / len(kept)
    torch.testing.assert_close(shares, torch.full_like(shares, kept.shape[1] / (ROWS * COLUMNS)), rtol=0.1, atol=0.0)


@pytest.mark.parametrize("count", [1, 5, 8])
def test_short_sounds_keep_some_patches_and_padding_is_dropped_at_the_same_rate(count):
    noise = torch.rand(400, COLUMNS, generator=torch.Generator().manual_seed(0))
    num_sound = torch.arange(400) % (COLUMNS + 1)
    is_sound = torch.arange(COLUMNS) < num_sound[:, None]
    found = chosen(noise, is_sound, count)
    assert found.shape == (400, count) and (found.diff(dim=1) > 0).all()
    kept_sound = is_sound.gather(1, found).sum(dim=1)
    assert (kept_sound - count * num_sound / COLUMNS).abs().max() <= 1
    assert (kept_sound[num_sound > 0] > 0).all()


def test_dropped_patches_depend_only_on_the_place_in_the_run():
    drop = PatchDropout(0.3, 0.2)
    drop.attach(model_of())
    num_frames = torch.tensor([144, 40, 144, 9, 144, 100])
    together = drop.kept(drop.draw(PLACES), num_frames)
    for first in (0, 2, 4):
        alone = drop.kept(drop.draw(Places(0, 3, range(first, first + 2))), num_frames[first : first + 2])
        assert torch.equal(alone, together[first : first + 2])
    assert not torch.equal(drop.kept(drop.draw(Places(0, 4, range(6))), num_frames), together)


def test_nothing_is_dropped_in_evaluation_or_in_a_plain_call():
    model, drop = model_of(), PatchDropout(0.5)
    features, num_frames = windows()
    with torch.no_grad():
        wanted = model(features).logits
        drop.attach(model)
        assert not torch.allclose(drop.around(model, PLACES, num_frames)(input_values=features).logits, wanted)
        assert torch.equal(model(features).logits, wanted)
        model.eval()
        assert torch.equal(drop.around(model, PLACES, num_frames)(input_values=features).logits, wanted)


def losses_and_gradient(model, drop, run=None):
    features, num_frames = windows()
    loss = drop.around(model if run is None else run, PLACES, num_frames)(input_values=features).logits.square().mean()
    loss.backward()
    return loss.detach(), torch.cat([one.grad.flatten() for one in model.parameters() if one.grad is not None])


@pytest.mark.parametrize("how", ["checkpointing", "compiled", "own head"])
def test_the_gradient_is_the_same_however_the_model_is_run(how):
    """There is one compiled graph for the patches of every step: nothing is compiled again."""
    drops = PatchDropout(0.3, 0.25), PatchDropout(0.3, 0.25)
    models = model_of(), model_of()
    if how == "own head":
        labels = SimpleNamespace(config_settings={"num_labels": 3, "problem_type": "single_label_classification"})
        models = tuple(with_head(one, labels, head="deep", head_sizes=[8]) for one in models)
        models[1].load_state_dict(models[0].state_dict())
        models[1].gradient_checkpointing_enable()
    for model, drop in zip(models, drops, strict=True):
        drop.attach(model.train())
    wanted = losses_and_gradient(models[0], drops[0])
    run = models[1]
    if how == "checkpointing":
        run.gradient_checkpointing_enable({"use_reentrant": False})
    if how == "compiled":
        graphs = []
        run = torch.compile(run, backend=lambda graph, _: graphs.append(graph) or graph.forward, fullgraph=True)
    found = losses_and_gradient(models[1], drops[1], run)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)
    if how == "compiled":
        features, num_frames = windows()
        for step in range(4, 7):
            places = Places(0, step, range(6))
            again, wanted = (
                drop.around(one, places, num_frames)(input_values=features).logits
                for one, drop in ((run, drops[1]), (models[0], drops[0]))
            )
            torch.testing.assert_close(again, wanted)
        assert len(graphs) == 1


def test_adapters_are_trained_on_fewer_patches_and_merged():
    model, drop = add_lora(model_of(), 2), PatchDropout(0.4)
    drop.attach(model)
    seen = embedded(model.get_base_model())
    features, num_frames = windows()
    drop.around(model, PLACES, num_frames)(input_values=features).logits.sum().backward()
    assert seen[0].shape[1] == 2 + 22
    assert all(one.grad is not None for one in model.parameters() if one.requires_grad)
    merged = merged_model(model).eval()
    assert merged(features).logits.shape == (6, 3) and merged.config.to_dict().keys() == model.config.to_dict().keys()


def test_a_run_reports_patch_dropout_and_its_model_uses_all_patches(tiny_features, tmp_path):
    config = AugmentConfig(patch_dropout_time=0.5)
    objective = {"patch_dropout": PatchDropout.of(config)}
    arguments = {"max_steps": 2, "save_strategy": "steps", "save_steps": 2, "eval_strategy": "steps", "eval_steps": 2}
    model = tiny_model(tiny_features)
    seen = embedded(model)
    trainer = trainer_of(tiny_features, tmp_path, model, arguments, objective)
    trainer.train_resumable()
    all_patches = model.audio_spectrogram_transformer.embeddings.position_embeddings.shape[1]
    sizes = [one.shape[1] for one in seen]
    assert sizes[:2] == [2 + (all_patches - 2) // 2] * 2 and set(sizes[2:]) == {all_patches}
    assert json.loads((tmp_path / "checkpoints" / "run.json").read_text())["patch_dropout_time"] == 0.5
    told = trainer.facts()["training"]
    assert told["settings"]["patch_dropout_time"] == 0.5 and told["objective"]["augmentation"] == "PatchDropout"
    stock = ASTForAudioClassification.from_pretrained(tmp_path).eval()
    values = batch_of(tiny_features, "test")["input_values"]
    with torch.no_grad():
        torch.testing.assert_close(stock(values).logits, trainer.model.eval()(values).logits)
    with pytest.raises(InputError, match=r"patch_dropout_time was 0\.5 and is now"):
        trainer_of(tiny_features, tmp_path, arguments=arguments).train_resumable()


class NoPatches(nn.Module):
    config = SimpleNamespace()


@pytest.mark.parametrize(
    ("model", "drop", "sentence"),
    [
        (NoPatches(), PatchDropout(0.4), "--patch_dropout drops patches of an Audio.*found NoPatches"),
        (model_of(), PatchDropout(0.01), "--patch_dropout 0.01 of 36 drops 0: a window has 4 rows and 9 columns"),
        (model_of(), PatchDropout(0, 0.95), "--patch_dropout_time 0.95 of 9 drops 9"),
        (model_of(), PatchDropout(0, 0, 0.9), "--patch_dropout_frequency 0.9 of 4 drops 4"),
    ],
)
def test_impossible_patch_dropout_is_one_sentence(model, drop, sentence):
    with pytest.raises(InputError, match=sentence):
        drop.attach(model)


def test_a_model_that_pools_all_patches_is_refused():
    labels = SimpleNamespace(config_settings={"num_labels": 3, "problem_type": "single_label_classification"})
    model = with_head(model_of(), labels, pooling="mean")
    with pytest.raises(
        InputError, match="--patch_dropout is for models that pool their class tokens, but pooling mean"
    ):
        PatchDropout(0.4).attach(model)


def test_a_network_without_patches_is_refused_before_features_are_built(tmp_path):
    flags = ["--data_dir", str(tmp_path / "nothing"), "--model", "cnn", "--patch_dropout_time", "0.4"]
    with pytest.raises(InputError, match=r"Patch dropout is for Audio Spectrogram Transformers, but cnn is not one"):
        prepare_features(parse_recipe({"output_dir": str(tmp_path)}, argv=flags))
    assert PatchDropout.of(AugmentConfig()) is None

"""Pretraining: hidden and moved patches, the losses, and the checkpoint that fine-tuning starts from."""

from __future__ import annotations

import copy
import json
import os
import runpy
import shutil
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from peft import LoraConfig, get_peft_model
from pretraining_run import OBJECTIVES, losses_of, pretrainer
from torch.nn import functional
from training_run import build_tiny_features, tiny_model
from transformers import AutoModelForAudioClassification

from hf_audio import InputError, load_features, parse_recipe, pretrain_model, pretraining_model
from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL, LabelSpace
from hf_audio.models import build_model
from hf_audio.models.audio_spectrogram_transformer import ast_from_scratch, resize_positions
from hf_audio.models.patch_choice import share_of, sine_positions
from hf_audio.models.spectrogram_pretraining import ENCODER
from hf_audio.training import AudioTrainer, training_arguments
from hf_audio.training.pretraining import Pretraining, PretrainingCollator, window_noise

ROOT = Path(__file__).parents[1]
FRAMES, BINS = 170, 64  # 10 x 4 patches (time x frequency); the last 10 frames fill no patch
NUM_FRAMES = torch.tensor([170, 160, 145, 100, 17, 3])  # they reach into 10, 10, 10, 7, 2 and 1 columns of patches
NUM_REAL = torch.tensor([40, 40, 40, 28, 8, 4])
CLASSES = LabelSpace(("a", "b"), SINGLE_LABEL)


def a_model(objective: str, seed: int = 0, **settings):
    torch.manual_seed(seed)
    ast = ast_from_scratch(CLASSES, FRAMES, BINS, hidden_size=32, num_layers=2, num_heads=2)
    return pretraining_model(ast, objective, decoder_width=16, decoder_layers=1, **settings).eval()


def a_batch(model, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(len(NUM_FRAMES), FRAMES, BINS, generator=generator)
    for window, length in zip(features, NUM_FRAMES, strict=True):
        window[length:] = 0.467
    noise = torch.rand(len(NUM_FRAMES), model.num_patches, generator=generator)
    return {"input_values": features, "num_frames": NUM_FRAMES, "noise": noise}


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    return load_features(build_tiny_features(tmp_path_factory.mktemp("pretraining") / "features", MULTI_LABEL))


def test_patches_are_those_of_the_encoder():
    """Patches cut by hand and multiplied with the encoder's weights equal the output of its convolution, in order."""
    model = a_model("masked")
    values = a_batch(model)["input_values"]
    projection = model.encoder.embeddings.patch_embeddings.projection
    weights = projection.weight[:, 0].transpose(1, 2).flatten(1)  # frequency first; our patches have time first
    by_hand = model.patches_of(values) @ weights.T + projection.bias
    torch.testing.assert_close(by_hand, model.encoder.embeddings.patch_embeddings(values), rtol=1e-4, atol=1e-4)
    whole = values[:, :160, :64]
    assert torch.equal(model.spectrogram_of(model.patches_of(values)), whole)


@pytest.mark.parametrize("fraction", [0.75, 0.5, 0.3])
def test_a_share_of_the_real_patches_is_hidden_from_the_encoder(fraction):
    model = a_model("masked", mask_fraction=fraction)
    batch = a_batch(model)
    tokens, drawn = [], []
    model.encoder.layers[0].register_forward_pre_hook(lambda _, args: tokens.append(args[0].shape[1]))
    model.to_pixels.register_forward_hook(lambda _, args, output: drawn.append(output))
    batch["input_values"].requires_grad_(True)
    losses = model(**batch).losses
    (gradient,) = torch.autograd.grad(drawn[0].sum(), batch["input_values"], retain_graph=True)
    seen = model.patches_of(gradient).abs().sum(dim=-1) > 0  # the patches that the decoder's output depends on
    real = torch.arange(10).repeat(4)[None] * 16 < NUM_FRAMES[:, None]
    assert real.sum(dim=1).tolist() == NUM_REAL.tolist()
    num_hidden = torch.tensor([int(fraction * count + 0.5) for count in NUM_REAL.tolist()])
    assert seen.sum(dim=1).tolist() == (NUM_REAL - num_hidden).tolist()
    assert not (seen & ~real).any(), "padding has no influence"
    assert tokens == [2 + 40 - int(fraction * 40 + 0.5)], "the encoder gets fewer tokens"

    target = model.patches_of(batch["input_values"].detach())
    target = (target - target.mean(-1, keepdim=True)) / target.std(-1, keepdim=True)
    error = (drawn[0] - target).square().mean(-1)
    expected = [one[hidden].mean() for one, hidden in zip(error, real & ~seen, strict=True)]
    torch.testing.assert_close(losses, torch.stack(expected), rtol=1e-3, atol=1e-3)


def test_each_window_hides_other_patches_which_depend_on_the_noise_only():
    model = a_model("masked")
    batch = a_batch(model)
    with torch.no_grad():
        first, again = model(**batch).losses, model(**batch).losses
        other = model(**{**batch, "noise": batch["noise"].flip(0)}).losses
        alone = model(**{name: value[2:4] for name, value in batch.items()}).losses
    assert torch.equal(first, again) and (first != other).all()
    torch.testing.assert_close(alone, first[2:4])


def test_shuffled_patches_are_where_the_labels_say():
    model = a_model("shuffled")
    batch = a_batch(model)
    outputs = model(**batch)
    real = model.is_real(NUM_FRAMES)
    shuffled, moved = model.shuffle(batch["input_values"], real, batch["noise"])
    before, after = model.patches_of(batch["input_values"]), model.patches_of(shuffled)
    assert moved.sum(dim=1).tolist() == [6, 6, 6, 4, 2, 2]  # 15 %, but never a single one
    for window in range(len(NUM_FRAMES)):
        for patch in range(model.num_patches):
            origins = (before[window] == after[window, patch]).all(dim=-1).nonzero()[:, 0].tolist()
            if not real[window, patch]:
                assert outputs.targets[window, patch] == -1 and patch in origins
            else:
                assert origins != [] and (patch not in origins) == bool(moved[window, patch])
                assert outputs.targets[window, patch] == moved[window, patch]
                assert all(real[window, origin] for origin in origins)
        torch.testing.assert_close(before[window].sum(), after[window].sum(), rtol=1e-3, atol=1e-2)  # no patch is lost
    errors = functional.binary_cross_entropy_with_logits(outputs.logits, moved.float(), reduction="none")
    expected = torch.stack([error[scored].mean() for error, scored in zip(errors, real, strict=True)])
    torch.testing.assert_close(outputs.losses, expected)

    silence = torch.full_like(batch["input_values"], -1.278)
    assert not model.shuffle(silence, real, batch["noise"])[1].any(), "equal patches cannot be told apart"


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_gradients_reach_every_weight(objective):
    model = a_model(objective).train()
    model(**a_batch(model)).losses.mean().backward()
    without = [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert not without


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_models_compile_checkpoint_gradients_and_can_be_saved(objective, tmp_path):
    model = a_model(objective)
    batch = a_batch(model)
    expected = model(**batch).losses
    with torch.no_grad():
        compiled = torch.compile(model, backend="eager", fullgraph=True)(**batch).losses
        torch.testing.assert_close(compiled, expected)
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(model(**batch).losses, expected, rtol=0.05, atol=0.05)
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())
    gradients = []
    for one in (model, again):
        if one is again:
            (getattr(one, "activation_checkpointing_enable", None) or one.gradient_checkpointing_enable)()
        one.train()(**batch).losses.sum().backward()
        gradients.append(one.encoder.layers[0].mlp.fc1.weight.grad)
    torch.testing.assert_close(*gradients)


def test_noise_depends_on_the_window_and_the_step():
    keys = [2**62 + 5, 7, 11, 2**63 - 1]
    together = window_noise(keys, 40, 0, 3)
    assert together.dtype == torch.float32 and together.min() >= 0 and together.max() < 1
    assert torch.equal(together, torch.cat([window_noise(keys[:1], 40, 0, 3), window_noise(keys[1:], 40, 0, 3)]))
    for place in ((0, 4), (1, 3), (0,)):
        assert (window_noise(keys, 40, *place) != together).float().mean() > 0.99
    assert len({tuple(row) for row in together.tolist()}) == 4


def test_batches_have_num_frames_and_a_key_per_window(features):
    rows = list(features.splits["train"])
    batch = PretrainingCollator(features.extractor, features.labels)(rows)
    assert batch["num_frames"].tolist() == [row["num_frames"] for row in rows] and len(set(batch["num_frames"])) > 1
    assert len(set(batch["window_keys"])) == len(rows), "windows of one clip have different keys"


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_loss_decreases_and_a_resumed_run_equals_an_uninterrupted_one(features, tmp_path, objective):
    """With gradient accumulation and a checkpoint in the middle of an epoch."""
    every = {"eval_strategy": "steps", "save_strategy": "steps", "eval_steps": 18, "save_steps": 18}
    arguments = {**every, "max_steps": 54, "gradient_accumulation_steps": 2, "per_device_train_batch_size": 4}
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    trainer = pretrainer(features, whole, objective, report_to="tensorboard", save_total_limit=None, **arguments)
    untrained = trainer.evaluate()["eval_loss"]
    assert trainer.evaluate()["eval_loss"] == untrained, "every evaluation hides the same patches"
    trainer.train_resumable()
    losses = losses_of(trainer)
    assert losses["eval_loss"][-1] < 0.9 * untrained
    assert sum(losses["loss"][-10:]) < 0.9 * sum(losses["loss"][:10])
    assert trainer.state.best_metric == min(losses["eval_loss"])
    assert list((whole / "tensorboard").glob("events.*"))
    assert bool(losses["eval_roc_auc"]) == (objective == "shuffled")

    shutil.copytree(whole, resumed)
    for step in (36, 54):
        shutil.rmtree(resumed / "checkpoints" / f"checkpoint-{step}")
    again = pretrainer(features, resumed, objective, save_total_limit=None, **arguments)
    torch.manual_seed(99)  # as in a process that used random numbers before
    again.train_resumable()
    assert again.state.global_step == 54 and losses_of(again)["loss"] == losses["loss"]
    assert (whole / "model.safetensors").read_bytes() == (resumed / "model.safetensors").read_bytes()
    another = "shuffled" if objective == "masked" else "masked"
    with pytest.raises(InputError, match=f"{resumed.name} holds a run with other settings"):
        pretrainer(features, resumed, another, **arguments).train_resumable()


def test_the_run_folder_is_a_checkpoint_for_fine_tuning(features, tmp_path):
    trainer = pretrainer(features, tmp_path, "masked", max_steps=4)
    trainer.train_resumable()
    trained = trainer.model.encoder.state_dict()
    untrained = getattr(tiny_model(features), ENCODER).state_dict()
    assert not any(torch.equal(trained[name], untrained[name]) for name in trained if name.endswith("weight"))
    finetuned = build_model(str(tmp_path), features)
    assert finetuned.config.id2label == features.labels.id2label and finetuned.config.problem_type == MULTI_LABEL
    loaded = getattr(finetuned, ENCODER).state_dict()
    assert loaded.keys() == trained.keys() and all(torch.equal(loaded[name], trained[name]) for name in trained)

    longer = copy.deepcopy(features.extractor)
    longer.max_length = 100
    features_of_longer = copy.copy(features)
    features_of_longer.extractor = longer
    positions = getattr(build_model(str(tmp_path), features_of_longer), ENCODER).embeddings.position_embeddings
    expected = resize_positions(trained["embeddings.position_embeddings"], (2, 2), (2, 6))
    torch.testing.assert_close(positions.detach(), expected)

    stock, report = AutoModelForAudioClassification.from_pretrained(tmp_path, num_labels=7, output_loading_info=True)
    assert stock.classifier.dense.out_features == 7 and not hasattr(stock.config, "pretraining")
    assert {name.split(".")[0] for name in report["missing_keys"]} == {"classifier"} and not report["unexpected_keys"]
    with pytest.raises(InputError, match="no classes to predict"):
        trainer.predictor()


def test_two_processes_train_as_one(features, tmp_path, forks):
    """The losses and gradients are equal, so each process drew for its windows what one process would have drawn."""
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true"}
    forks.ranks(2, ROOT / "tests" / "pretraining_run.py", features.source, tmp_path, env=environment)
    two = json.loads((tmp_path / "outcome.json").read_text())
    assert two["world_size"] == 2
    for objective in OBJECTIVES:
        trainer = pretrainer(features, tmp_path / f"{objective} by one", objective, max_steps=3)
        one = {"before": [trainer.evaluate()["eval_loss"]]}
        trainer.train_resumable()
        one |= losses_of(trainer)
        assert len(one["loss"]) == len(one["grad_norm"]) == 3
        for name, value in one.items():
            assert two[objective][name] == pytest.approx(value, rel=1e-3), name


def test_every_patch_has_its_own_sine_position():
    positions = sine_positions(3, 5, 16)
    assert positions.shape == (15, 16) and len({tuple(row) for row in positions.tolist()}) == 15
    assert torch.equal(positions[2, :8], positions[4, :8]) and torch.equal(positions[1, 8:], positions[11, 8:])


def test_hidden_shares_are_rounded_to_the_nearest():
    counts = torch.arange(1, 2000)
    for fraction in (0.15, 0.5, 0.75):
        hidden = share_of(fraction, counts)
        assert (hidden - fraction * counts).abs().max() <= 0.5 + 1e-4
        visible = counts - hidden
        assert (visible.diff() >= 0).all(), "a shorter window never has more visible patches"


def test_balanced_scores_of_moved_patches(features):
    answers = (torch.tensor([0.5, 1.5]).numpy(), torch.tensor([[2.0, -1, 9], [-3, -2, 9]]).numpy())
    truth = torch.tensor([[1, 0, -1], [0, 1, -1]], dtype=torch.int8).numpy()
    metrics = Pretraining(features).metrics(answers, truth)
    assert metrics == {"loss": 1.0, "accuracy": 0.75, "balanced_accuracy": 0.75, "roc_auc": 0.75}


@pytest.mark.parametrize(
    ("objective", "settings", "sentence"),
    [
        ("mask", {}, "Unknown objective 'mask': did you mean 'masked'"),
        ("masked", {"mask_fraction": 1.5}, "--mask_fraction must be between 0 and 1, found 1.5"),
        ("shuffled", {"shuffle_fraction": 0.0}, "--shuffle_fraction must be between 0 and 1, found 0"),
        ("masked", {"decoder_width": 30}, "--decoder_width must be a multiple of 4, found 30: try 28"),
        ("masked", {"mask_fraction": 0.9}, "--mask_fraction 0.9 leaves none of a window's 4 patches visible"),
    ],
)
def test_bad_pretraining_settings(features, objective, settings, sentence):
    with pytest.raises(InputError, match=sentence):
        pretraining_model(tiny_model(features), objective, **settings)


def test_models_and_features_that_cannot_be_pretrained(features, tmp_path):
    overlapping = ast_from_scratch(CLASSES, FRAMES, BINS, hidden_size=32, num_layers=1, num_heads=2, stride=10)
    with pytest.raises(InputError, match="Pretraining needs patches that do not overlap: stride 16, found 10"):
        pretraining_model(overlapping)
    adapted = get_peft_model(tiny_model(features), LoraConfig(target_modules=["q_proj"]))
    with pytest.raises(InputError, match="a spectrogram transformer without adapters, found PeftModel"):
        pretraining_model(adapted)
    values = {"output_dir": str(tmp_path), "objective": "masked", "mixup_alpha": 1.0}
    with pytest.raises(InputError, match="masks or shuffles patches itself: remove the masks and mixup"):
        pretrain_model(parse_recipe(values, argv=[]), features)
    with pytest.raises(InputError, match=r"takes windows of 170 frames and 64 bins, but the features have 38 and 32"):
        AudioTrainer(a_model("masked"), training_arguments(tmp_path, use_cpu=True), Pretraining(features))
    with pytest.raises(InputError, match="Unknown flag '--objective'"):
        parse_recipe({"output_dir": "runs/x"}, argv=["--objective", "masked"])


def test_a_recipe_pretrains_and_publishes_and_another_fine_tunes_on_few_labels(
    features, hub, token, tmp_path, monkeypatch, capsys
):
    """The shuffled objective from the command line; then a fine-tuning recipe's stages on a fifth of the groups."""
    job = ["--dataset", features.source, "--window_s", "0.4", "--num_mel_bins", "32", "--report_to", "none"]
    job += ["--max_steps", "2", "--model", "ast-mini", "--per_device_train_batch_size", "4"]
    publish = ["--push_to_hub", "--hub_model_id", "alice/pretrained", "--objective", "shuffled"]
    argv = ["recipes/pretrain_ast.py", *job, "--output_dir", str(tmp_path / "pretrained"), *publish]
    monkeypatch.setattr(sys, "argv", argv)
    runpy.run_path(str(ROOT / "recipes" / "pretrain_ast.py"), run_name="__main__")
    out = capsys.readouterr().out
    stages = ["Features: fbank at 16,000 Hz in windows of 0.4 s", "Model: AST", "Training: ", "Published model: http"]
    places = [out.index(stage) for stage in stages]
    assert places == sorted(places), "each stage reports what it decided, in order"
    published = hub.repo("models", "alice/pretrained")
    assert {"config.json", "model.safetensors", "preprocessor_config.json", "README.md"} <= set(published.paths())
    card = ModelCard(published.read("README.md").decode())
    assert "15% of a window's 16 x 16 patches were shuffled" in card.text and card.data.datasets is None
    assert 'from_pretrained("alice/pretrained", num_labels=10)' in card.text and "validation ROC AUC" in card.text
    assert str(tmp_path) not in card.content

    from hf_audio import prepare_features, prepare_model, train_model

    for start in (str(tmp_path / "pretrained"), "alice/pretrained"):
        values = {"output_dir": str(tmp_path / "finetuned"), "class_weights": "balanced", "overwrite_run": True}
        flags = [*job, "--model", start, "--train_fraction", "0.2", "--max_steps", "1"]
        recipe = parse_recipe(values, argv=flags)
        few = prepare_features(recipe)
        assert few.manifest["splits"]["train"]["num_groups"] == 4
        assert train_model(recipe, prepare_model(recipe, few), few).state.global_step == 1

"""The common test: what every model must do with every head; the models are in model_cases.py."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from model_cases import ALL_TASKS, CASES, HEADS, INSTANCES, NAMES, Instance, is_ours, suited, task
from model_gradient_run import all_gradients
from safetensors.torch import load_file, save_file
from test_distributed import in_two_processes
from transformers import AutoModelForAudioClassification

from hf_audio.data.index.labels import SINGLE_LABEL, LabelSpace
from hf_audio.errors import InputError
from hf_audio.losses import loss_for
from hf_audio.models.lora import add_lora, is_lora, merged_model
from hf_audio.models.spectrogram_cnn import SpectrogramCNN, SpectrogramCNNConfig
from hf_audio.models.spectrogram_lstm import SpectrogramLSTM, SpectrogramLSTMConfig
from hf_audio.publishing.push import push_model

TESTS = Path(__file__).parent
EQUAL = {"rtol": 0, "atol": 1e-6}


def each(instances: list[Instance]):
    return pytest.mark.parametrize("instance", instances, ids=lambda instance: instance.id)


def logits(model, inputs) -> torch.Tensor:
    with torch.no_grad():
        return model(**inputs).logits


def gradients(model) -> dict[str, torch.Tensor | None]:
    return {name: weights.grad for name, weights in model.named_parameters() if weights.requires_grad}


def test_the_cases_cover_every_head():
    assert {head for case in CASES for head in case.heads} == set(HEADS)
    assert len({instance.id for instance in INSTANCES}) == len(INSTANCES) <= 40


@each(ALL_TASKS)
def test_forward_takes_any_length_and_batch(instance):
    model = instance.model()
    for window in instance.case.windows:
        for batch in (1, 3):
            inputs, targets = instance.inputs(batch, window), instance.targets(batch)
            found = logits(model, inputs)
            assert found.shape == (batch, len(NAMES)) and found.isfinite().all(), window
            if is_ours(model):
                loss = model(**inputs, labels=targets).loss
                torch.testing.assert_close(loss, loss_for(instance.labels)(found, targets))


@each(ALL_TASKS)
def test_gradients_reach_every_trainable_weight(instance):
    model = instance.model().train()
    loss = instance.loss(model, instance.inputs(), instance.targets())
    loss.backward()
    found = gradients(model)
    assert loss.isfinite() and found
    without = [name for name, gradient in found.items() if gradient is None or not gradient.any()]
    assert not without, without


@each(INSTANCES)
def test_a_saved_model_is_the_same(instance, tmp_path):
    model, inputs = instance.model(), instance.inputs()
    model.save_pretrained(tmp_path)
    loaded = AutoModelForAudioClassification.from_pretrained(tmp_path)
    assert type(loaded) is type(model) and not loaded.training
    torch.testing.assert_close(logits(loaded, inputs), logits(model, inputs), **EQUAL)
    for kind in ("named_parameters", "named_buffers"):  # including buffers that are not saved
        ours, theirs = (dict(getattr(one, kind)()) for one in (model, loaded))
        assert ours.keys() == theirs.keys()
        for name in ours:
            torch.testing.assert_close(theirs[name], ours[name], **EQUAL)
    config = loaded.config
    assert (config.problem_type, config.id2label) == (instance.problem_type, instance.labels.id2label)


def repo_of(instance: Instance) -> str:
    return f"alice/{instance.id}"


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    """1.3 s of a falling tone in noise, taken as being at the model's sampling rate."""
    random, time_s = np.random.default_rng(0), np.arange(20_800) / 16_000
    tone = 0.3 * np.sin(2 * np.pi * (900 - 200 * time_s) * time_s)
    return (tone + 0.02 * random.standard_normal(len(time_s))).astype(np.float32)


@pytest.fixture(scope="module")
def elsewhere(hub, sound, tmp_path_factory, forks_without_hf_audio) -> Path:
    """Publishes all models with their extractors; returns a folder with the logits of a process without hf_audio."""
    folder, inputs = tmp_path_factory.mktemp("elsewhere"), {}
    for instance in INSTANCES:
        repo = repo_of(instance)
        instance.model().save_pretrained(folder / "models" / repo)
        instance.case.extractor().save_pretrained(folder / "models" / repo)
        push_model(folder / "models" / repo, repo, token=hub.token("alice"))
        inputs |= {f"{repo}|{name}": tensor for name, tensor in instance.inputs().items()}
    save_file(inputs, folder / "inputs.safetensors")
    np.save(folder / "sound.npy", sound)
    (folder / "repos.json").write_text(json.dumps([repo_of(instance) for instance in INSTANCES]))
    done = forks_without_hf_audio.run(TESTS / "published_models.py", folder, cwd=folder)
    assert done.returncode == 0, done.errors[-4000:]
    return folder


@each(INSTANCES)
def test_a_published_model_is_the_same_without_hf_audio(instance, elsewhere):
    found = load_file(elsewhere / "logits.safetensors")[repo_of(instance)]
    torch.testing.assert_close(found, logits(instance.model(), instance.inputs()), **EQUAL)


@each(INSTANCES)
def test_the_stock_pipeline_gives_the_scores_of_the_model(instance, elsewhere, sound):
    extractor = instance.case.extractor()
    heard = extractor(sound, sampling_rate=extractor.sampling_rate, return_tensors="pt")
    wanted = instance.labels.probabilities(logits(instance.model(), heard)[0].numpy())
    answers = json.loads((elsewhere / "answers.json").read_text())[repo_of(instance)]
    assert {one["label"]: one["score"] for one in answers} == pytest.approx(
        dict(zip(NAMES, wanted, strict=True)), abs=1e-5
    )
    assert np.ptp(wanted) > 1e-4, "equal scores would fit any class order"
    assert [one["score"] for one in answers] == sorted((one["score"] for one in answers), reverse=True)


@each(suited("lora"))
def test_adapters_are_trained_and_merged(instance):
    """If the model names targets for adapters; otherwise one sentence says that it takes none."""
    model, inputs = instance.model(), instance.inputs()
    if is_ours(model) and not model.lora_targets:
        with pytest.raises(InputError, match="LoRA"):
            add_lora(model, rank=2)
        return
    before = logits(model, inputs)
    adapted = add_lora(model, rank=2).eval()
    torch.testing.assert_close(logits(adapted, inputs), before)
    instance.loss(adapted.train(), inputs, instance.targets()).backward()
    with torch.no_grad():
        for name, gradient in gradients(adapted).items():
            assert "lora_" in name or "modules_to_save" in name
            assert "lora_A" in name or gradient.any(), name
            adapted.get_parameter(name).sub_(gradient.sign(), alpha=0.02)
    merged = merged_model(adapted).eval()
    assert type(merged) is type(model) and not is_lora(merged)
    moved = logits(adapted.eval(), inputs)
    assert (moved - before).abs().max() > 1e-3
    torch.testing.assert_close(logits(merged, inputs), moved, rtol=1e-4, atol=1e-4)


@each(suited("checkpointing"))
def test_checkpointed_gradients_are_the_same(instance):
    """If the model supports checkpointing; otherwise an error says that it does not."""
    plain, inputs, targets = instance.model().train(), instance.inputs(), instance.targets()
    if not plain.supports_gradient_checkpointing:
        with pytest.raises(ValueError, match="checkpointing"):
            plain.gradient_checkpointing_enable()
        return
    checkpointed = copy.deepcopy(plain)
    checkpointed.gradient_checkpointing_enable()
    assert checkpointed.is_gradient_checkpointing
    losses = [instance.loss(model, inputs, targets) for model in (plain, checkpointed)]
    for loss in losses:
        loss.backward()
    torch.testing.assert_close(*losses)
    torch.testing.assert_close(gradients(checkpointed), gradients(plain))


@each(suited("bf16"))
def test_bf16_autocast_is_close(instance):
    model, inputs = instance.model(), instance.inputs()
    wanted = logits(model, inputs)
    with torch.autocast("cpu", torch.bfloat16):
        found = logits(model, inputs).float()
        loss = instance.loss(model.train(), inputs, instance.targets())
    loss.backward()
    assert loss.isfinite() and all(gradient.isfinite().all() for gradient in gradients(model).values())
    torch.testing.assert_close(found, wanted, rtol=0, atol=0.05 * max(1.0, wanted.abs().max().item()))


# every model once, and every head with the first model: this is the slowest check
@each([one for one in suited("compile") if one.case is CASES[0] or one.head == one.case.heads[0]])
def test_our_models_compile_without_a_graph_break(instance):
    torch._dynamo.reset()
    model, inputs, targets = instance.model(), instance.inputs(), instance.targets()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    found, wanted = compiled(**inputs, labels=targets), model(**inputs, labels=targets)
    torch.testing.assert_close((found.loss, found.logits), (wanted.loss, wanted.logits))


@pytest.fixture(scope="module")
def two_processes(forks, tmp_path_factory) -> dict[str, torch.Tensor]:
    path = tmp_path_factory.mktemp("gradients") / "two.safetensors"
    in_two_processes(forks, "model_gradient_run.py", path)
    found = load_file(path)
    assert found.pop("world_size") == 2
    return found


@pytest.fixture(scope="module")
def one_process() -> dict[str, torch.Tensor]:
    return all_gradients()


@each(suited("two_processes"))
def test_two_processes_train_as_one(instance, one_process, two_processes):
    for what in ("loss", "gradient"):
        name = f"{instance.id}.{what}"
        assert one_process[name].norm() > 1e-3
        torch.testing.assert_close(two_processes[name], one_process[name], rtol=1e-4, atol=1e-6)


def size_of(model, folder: Path) -> tuple[int, int]:
    """Number of parameters, and bytes of the file."""
    model.save_pretrained(folder)
    return sum(weights.numel() for weights in model.parameters()), (folder / "model.safetensors").stat().st_size


def test_file_sizes_are_those_of_the_earlier_system(tmp_path):
    """105 kB for the CNN, 41.7 MB for the LSTM; four classes, stereo windows of 64 mel bins and 431 frames."""
    labels = task(LabelSpace(("cello", "guitar", "piano", "violin"), SINGLE_LABEL))
    sizes = {"channels": [8, 16, 32, 64], "kernel_sizes": [5, 3, 3, 3], "strides": [2] * 4, "pools": [2, 2, 2, 1]}
    cnn = SpectrogramCNN(SpectrogramCNNConfig(num_channels=2, **sizes, **labels))
    lstm = SpectrogramLSTM(SpectrogramLSTMConfig(sequence="bins", num_frames=431, **labels))
    windows = torch.zeros(1, 2, 431, 64)
    assert logits(cnn, {"input_values": windows}).shape == logits(lstm, {"input_values": windows}).shape == (1, 4)
    parameters, size_bytes = size_of(cnn, tmp_path / "cnn")
    assert parameters == 408 + 1168 + 4640 + 18_496 + 260
    assert size_bytes == pytest.approx(105e3, rel=0.05)
    parameters, size_bytes = size_of(lstm, tmp_path / "lstm")
    assert parameters == 4 * 862 * (431 + 862 + 2) + 4 * 862 * (862 + 862 + 2) + 862 * 4 + 4
    assert size_bytes == pytest.approx(41.7e6, rel=0.001)


@pytest.mark.parametrize("channels", [1, 2])
def test_all_stage_outputs_of_a_cnn_are_channels_last(channels):
    """CPUs convolve fastest in this layout. A single channel fits both, and torch would choose the slower one."""
    sizes = {"channels": [4, 8], "kernel_sizes": [3, 3], "strides": [1, 1], "pools": [2, 2], "depths": [1, 2]}
    model = SpectrogramCNN(SpectrogramCNNConfig(num_channels=channels, norm="batch", **sizes))
    seen = []
    for stage in model.stages:
        stage.register_forward_hook(lambda _, inputs, output: seen.append(output))
    model(torch.randn(2, channels, 20, 16))
    model.eval()(torch.randn(2, channels, 20, 16))
    assert len(seen) == 4 and all(maps.is_contiguous(memory_format=torch.channels_last) for maps in seen)

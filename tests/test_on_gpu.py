"""A run on a GPU from the command line to its end: tested here on the CPU, on a GPU by scripts/check_gpu.sh."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import torch
from augmenting import places
from waveforms import RATE, white

from hf_audio import parse_recipe, prepare_features, prepare_model, train_model
from hf_audio.augment import Compose
from hf_audio.augment.waveform import example_waveform_steps
from hf_audio.kinds import KINDS, OfSound
from hf_audio.kinds._kaldi_fbank import KaldiFbank
from hf_audio.kinds._spectrogram_settings import Spectrogram
from hf_audio.kinds.waveform import Waveform
from hf_audio.models.recurrence import Recurrence

ROOT = Path(__file__).parents[1]
GPU = (pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here"))
DEVICES = ["cpu", pytest.param("cuda", marks=GPU)]


def run(features, folder: Path, device: str, *flags: str, model: str = "lstm", seen: list | None = None):
    """Runs a recipe's stages; appends to `seen` the dtypes of the recurrent layers' outputs in training."""
    argv = ["--dataset", features.source, "--window_s", "0.4", "--num_mel_bins", "32", "--report_to", "none"]
    argv += ["--model", model, "--max_steps", "3", "--per_device_train_batch_size", "4", "--bf16", *flags]
    argv += ["--use_cpu"] if device == "cpu" else []
    recipe = parse_recipe({"output_dir": str(folder)}, argv=argv)
    features = prepare_features(recipe)
    network = prepare_model(recipe, features)
    for part in network.modules():
        if isinstance(part, Recurrence) and seen is not None:
            part.register_forward_hook(lambda _, args, output: seen.append(output.dtype))
    return train_model(recipe, network, features)


@pytest.mark.parametrize("device", DEVICES)
def test_a_run_in_bf16_finishes_and_is_not_trained_again(tiny_features, tmp_path, device):
    seen: list[torch.dtype] = []
    trainer = run(tiny_features, tmp_path, device, seen=seen)
    assert trainer.model.device.type == device and trainer.facts()["training"]["precision"] == "bf16"
    assert set(seen) == {torch.float32}, "recurrent layers lose their gradient in half precision"
    scores = trainer.predictor().scores(tiny_features, "test").logits
    again = run(tiny_features, tmp_path, device)
    assert again.state.global_step == 3 and again.optimizer is None, "nothing was trained"
    assert abs(again.predictor().scores(tiny_features, "test").logits - scores).max() < 1e-2


@pytest.mark.parametrize("device", DEVICES)
def test_workers_can_be_switched_off(tiny_features, tmp_path, device):
    flags = (
        "--dataloader_num_workers",
        "0",
        "--ema_decay",
        "0.9",
        "--layer_decay",
        "0.8",
        "--lr_schedule",
        "exponential",
    )
    trainer = run(tiny_features, tmp_path, device, *flags, model="cnn-concert")
    settings = trainer.facts()["training"]["settings"]
    assert (settings["ema_decay"], settings["lr_scheduler_type"], len(settings["layers"])) == (0.9, "exponential", 5)
    assert trainer.state.global_step == 3 and trainer.args.dataloader_prefetch_factor is None


@pytest.mark.parametrize("device", DEVICES)
def test_waveforms_are_augmented_on_a_device_as_on_the_cpu(device):
    values, num_frames = white(4, 4000), torch.tensor([4000, 4000, 3000, 4000])
    values[2, 3000:] = 0
    batch = (values, torch.zeros(4, 1), num_frames)
    for name, steps in example_waveform_steps(RATE).items():
        augment = Compose(steps, None)
        draws = augment.draw(places(4))
        wanted, found = augment(*batch, draws), augment(*(one.to(device) for one in batch), draws)
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(
                one.cpu(), other, rtol=1e-3, atol=1e-4, msg=lambda why, name=name: f"{name}: {why}"
            )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("source", [KaldiFbank(), Spectrogram(16_000, 64, 1024, 256, ("mel", "harmonic", "wavelet"))])
def test_features_on_a_device_equal_those_of_the_extractor(source, device):
    extractor = source.to_feature_extractor(source.window_frames(1.0), -30.0, 15.0)
    of_sound = OfSound(KINDS[source.parameters["kind"]], extractor, Waveform().parameters, 1.0)
    sound = 0.1 * torch.randn(2, 16_000, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([16_000, 9_000])
    with torch.autocast(device, torch.bfloat16):
        values, num_frames = of_sound.features_of(sound.to(device), lengths.to(device), extractor)
    assert values.device.type == device and values.dtype == torch.float32
    for window, length, found, frames in zip(sound, lengths, values, num_frames, strict=True):
        (wanted,) = extractor([window[:length].numpy()], sampling_rate=16_000, return_tensors="pt")["input_values"]
        torch.testing.assert_close(found.cpu(), wanted, rtol=0, atol=1e-4)
        assert frames == source.num_frames(int(length))


def test_the_benchmark_reports_the_share_of_the_matrix_rate(forks):
    options = ("--device", "cpu", "--model", "cnn-concert", "--share", "2", "--steps", "1", "--repeats", "1")
    done = forks.run(ROOT / "scripts/benchmark_training.py", *options, "--compile_backend", "eager")
    assert done.returncode == 0, done.errors
    output = done.output
    lines = [line for line in output.splitlines() if line.startswith("share")]
    assert len(lines) == 2 and "eager" in lines[0] and "compiled" in lines[1]
    assert all(0 < float(line.split()[-6]) < 100 for line in lines), output


def test_the_gpu_check_is_a_valid_bash_script():
    subprocess.run(["bash", "-n", ROOT / "scripts/check_gpu.sh"], check=True)

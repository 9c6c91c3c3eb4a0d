"""Measure the cost of each augmentation per training step, and the savings of patch dropout, in one run.

    python scripts/benchmark_augmentations.py
    python scripts/benchmark_augmentations.py --models cnn ast-mini ast-base --rounds 5

Batches of 3 s windows are in memory, as features (298 x 128) and as sound at 16 kHz. A training step is loss, gradient
and AdamW. Everything is timed once per round, in turns. Figures are the minimum over rounds, in CPU time of the process
with `--threads` threads. The time of an augmentation includes drawing and applying it, with the example settings of
`hf_audio/augment/examples.py` and `waveform/examples.py`, which change every window. Columns named by models are
clips/s of a step with the augmentation relative to a step without it. Patch dropout is timed as part of the step.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # waiting threads must not use CPU time

import torch
from _measuring import turns
from torch import Tensor
from transformers import ASTFeatureExtractor, PreTrainedModel

from hf_audio.augment import Compose, augmentation_for
from hf_audio.augment.examples import example_augmentations, example_patch_dropouts
from hf_audio.augment.waveform.examples import example_waveform_steps
from hf_audio.config import AugmentConfig
from hf_audio.data.index.labels import MULTI_LABEL, LabelSpace
from hf_audio.losses import loss_for
from hf_audio.models.audio_spectrogram_transformer import ast_from_scratch
from hf_audio.models.presets import AST_PRESETS, NETWORKS
from hf_audio.training import PatchDropout
from hf_audio.training.objective import Places

LABELS = LabelSpace(tuple(f"class {index}" for index in range(11)), MULTI_LABEL)
BINS, RATE = 128, 16_000
FRAMES_PER_S = 100


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ["cnn", *AST_PRESETS]
    parser.add_argument("--models", nargs="+", choices=names, default=["cnn", "ast-mini"], help="default: %(default)s")
    parser.add_argument("--batch_size", type=int, default=32, help="windows per step (default: %(default)s)")
    parser.add_argument("--num_frames", type=int, default=298, help="frames per window (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of everything (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: %(default)s)")
    return parser.parse_args()


class Batch:
    """Windows in memory, and their positions in a run, which advance with each call."""

    def __init__(self, size: int, num_frames: int) -> None:
        random = torch.Generator().manual_seed(0)
        self.features = torch.randn(size, num_frames, BINS, generator=random) / 2
        self.targets = (torch.rand(size, len(LABELS), generator=random) > 0.8).float()
        self.num_frames = torch.full((size,), num_frames)
        num_samples = RATE * num_frames // FRAMES_PER_S
        self.waveforms = torch.randn(size, num_samples, generator=random) / 10
        self.num_samples = torch.full((size,), num_samples)
        self.step = 0

    def next_places(self) -> Places:
        self.step += 1
        return Places(0, self.step, range(len(self.features)))


def augmenting(augment: Compose, batch: Batch) -> Callable[[], Tensor]:
    """Draws and applies an augmentation to one batch of features or sound."""
    of_sound = augment.normalization is None
    values, lengths = (batch.waveforms, batch.num_samples) if of_sound else (batch.features, batch.num_frames)

    def augmented() -> Tensor:
        draws = augment.draw(batch.next_places().keys)
        return augment(values, batch.targets, lengths, draws)[0]

    return augmented


def augmentations(num_frames: int) -> dict[str, dict[str, Compose]]:
    """The example augmentations of spectrograms and of waveforms, by name."""
    extractor = ASTFeatureExtractor(max_length=num_frames, num_mel_bins=BINS)
    of_features = {
        name: augmentation_for(AugmentConfig(**settings), extractor)
        for name, settings in example_augmentations().items()
    }
    of_sound = {name: Compose(steps, None) for name, steps in example_waveform_steps(RATE).items()}
    return {"spectrograms": of_features, "waveforms": of_sound}


def training(name: str, batch: Batch, dropout: PatchDropout | None = None) -> Callable[[], None]:
    """One training step, with patch dropout if it is given."""
    model = model_of(name, batch.features.shape[1]).train()
    loss_of, optimizer = loss_for(LABELS), torch.optim.AdamW(model.parameters(), lr=1e-4)
    if dropout:
        dropout.attach(model)

    def step() -> None:
        call = dropout.around(model, batch.next_places(), batch.num_frames) if dropout else model
        loss_of(call(input_values=batch.features).logits, batch.targets).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def model_of(name: str, num_frames: int) -> PreTrainedModel:
    if name in AST_PRESETS:
        return ast_from_scratch(LABELS, num_frames, BINS, **AST_PRESETS[name])
    model_class, settings, _ = NETWORKS[name]
    return model_class(model_class.config_class(**settings, **LABELS.config_settings))


def minimum_ms(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """CPU time per call of each variant: the minimum over rounds in which all take turns, after a warm-up round."""
    return {name: 1000 * minimum_s for name, minimum_s in turns(ways, rounds, "cpu", min, warm_up=True).items()}


def print_augmentations(options: argparse.Namespace, batch: Batch) -> None:
    steps = {name: training(name, batch) for name in options.models}
    for of, augments in augmentations(options.num_frames).items():
        ways = {name: augmenting(augment, batch) for name, augment in augments.items()}
        spent = minimum_ms({**steps, **ways}, options.rounds)
        told = ", ".join(f"{name} {spent[name] / options.batch_size:.2f}" for name in steps)
        print(f"Augmentations of {of}. A training step in ms per clip: {told}\n")
        print(f"| augmentation | ms per clip | {' | '.join(steps)} |\n|---|---:|{'---:|' * len(steps)}")
        for name in ways:
            rates = " | ".join(f"{spent[model] / (spent[model] + spent[name]):.2f}" for model in steps)
            print(f"| {name} | {spent[name] / options.batch_size:.2f} | {rates} |", flush=True)
        print()


def print_patch_dropout(options: argparse.Namespace, batch: Batch) -> None:
    models = [name for name in options.models if name in AST_PRESETS]
    if not models:
        return
    print(f"| patch dropout | {' | '.join(models)} |\n|---|{'---:|' * len(models)}")
    dropouts = {name: PatchDropout.of(AugmentConfig(**one)) for name, one in example_patch_dropouts().items()}
    rates: dict[str, list[str]] = {name: [] for name in dropouts}
    for model in models:
        ways = {name: training(model, batch, dropout) for name, dropout in dropouts.items()}
        spent = minimum_ms({"none": training(model, batch), **ways}, options.rounds)
        for name in dropouts:
            rates[name].append(f"{spent['none'] / spent[name]:.2f}")
    for name, found in rates.items():
        print(f"| {name} | {' | '.join(found)} |")


def main() -> None:
    options = parse_options()
    torch.set_num_threads(options.threads)
    batch = Batch(options.batch_size, options.num_frames)
    print(f"CPU time on {options.threads} threads, {options.rounds} rounds, batches of {options.batch_size}\n")
    print_augmentations(options, batch)
    print_patch_dropout(options, batch)


if __name__ == "__main__":
    main()

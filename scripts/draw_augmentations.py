"""Show every augmentation on one sound, before and after, on a page with plots and players.

    python scripts/draw_augmentations.py                                a synthesized melody; ./augmentations.html
    python scripts/draw_augmentations.py --file song.wav --start_s 30 --seed 1 --output page.html

The page is a single file. Each augmentation is shown with its settings, which make its effect visible or audible.
"""

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import torch

from hf_audio.augment.examples import example_patch_dropouts
from hf_audio.config import AugmentConfig
from hf_audio.data.recordings.audio import AudioError, read_audio
from hf_audio.errors import InputError, clear_errors
from hf_audio.figures.augmentations import LABELS, DroppedPatches, augmentations_page, made_up_sound
from hf_audio.files import write_atomically
from hf_audio.kinds._kaldi_fbank import KaldiFbank
from hf_audio.models.audio_spectrogram_transformer import ast_from_scratch
from hf_audio.terminal import show
from hf_audio.training import PatchDropout
from hf_audio.training.objective import Places

SAMPLE_RATE = 16_000
MIN_S = 1.0
PATCH = 16  # frames and bins


@dataclasses.dataclass
class Options:
    """See --help."""

    file: str | None
    start_s: float
    duration_s: float
    output: str
    seed: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", help="Recording to draw. Default: a synthesized melody.")
    parser.add_argument(
        "--start_s", type=float, default=0.0, help="Start of the window in the recording, in seconds [%(default)s]."
    )
    parser.add_argument("--duration_s", type=float, default=3.0, help="Length of the window in seconds [%(default)s].")
    parser.add_argument("--output", default="augmentations.html", help="Page to write [%(default)s].")
    parser.add_argument("--seed", type=int, default=0, help="Random seed [%(default)s].")
    options = Options(**vars(parser.parse_args()))
    if not (options.start_s >= 0 and MIN_S <= options.duration_s <= 30):
        raise InputError("--start_s must be 0 or more and --duration_s between 1 and 30: try --duration_s 3")
    if not 0 <= options.seed < 2**32:
        raise InputError(f"--seed must be 0 or more, found {options.seed}: try 0")
    sound, name = _sound(options)
    dropped = {name: _dropped(settings, sound, options.seed) for name, settings in example_patch_dropouts().items()}
    write_atomically(Path(options.output), augmentations_page(sound, SAMPLE_RATE, name, options.seed, dropped))
    show(options.output)


def _dropped(settings: dict[str, float], sound: np.ndarray, seed: int) -> DroppedPatches:
    """The parts of the window that a training step drops, for a transformer whose patches do not overlap."""
    num_frames, num_bins = KaldiFbank(SAMPLE_RATE)(torch.from_numpy(sound).float()[None]).shape[1:]
    patches = PatchDropout.of(AugmentConfig(**settings))
    patches.attach(ast_from_scratch(LABELS, num_frames, num_bins, hidden_size=8, num_layers=1, num_heads=1))
    kept = patches.kept(patches.draw(Places(seed, 0, [0])), torch.tensor([num_frames]))
    is_kept = torch.zeros(patches.grid.rows * patches.grid.columns, dtype=torch.bool)
    is_kept[kept[0]] = True
    grid = is_kept.view(patches.grid.rows, patches.grid.columns).T
    is_dropped = torch.ones(num_frames, num_bins, dtype=torch.bool)  # also frames after the last whole patch
    whole = ~grid.repeat_interleave(PATCH, 0).repeat_interleave(PATCH, 1)
    is_dropped[: whole.shape[0], : whole.shape[1]] = whole
    return DroppedPatches(settings, is_dropped)


def _sound(options: Options):
    """The window `[samples]`, and its name."""
    if options.file is None:
        return made_up_sound(SAMPLE_RATE, options.duration_s), "a synthesized melody"
    try:
        sound = read_audio(options.file, SAMPLE_RATE, options.start_s, options.start_s + options.duration_s)
    except AudioError as error:
        raise InputError(f"{options.file} cannot be used ({error}): give another --file") from error
    if len(sound) < MIN_S * SAMPLE_RATE:
        raise InputError(
            f"{options.file} has {len(sound) / SAMPLE_RATE:.2f} s of sound after --start_s, expected 1 s or more: give "
            "another --file or --start_s"
        )
    return sound, Path(options.file).name


if __name__ == "__main__":
    with clear_errors():
        main()

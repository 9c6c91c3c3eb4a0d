"""Every corpus in its real layout with one second of sound per file, for tests of the steps after the index."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import soundfile
import test_esc50
import test_fma
import test_medley_solos
import test_medleydb
import test_musicnet
import test_nsynth
import test_openmic
import test_speech_commands
import test_urbansound8k

from hf_audio.corpora import gtzan
from hf_audio.corpora.irmas import INSTRUMENTS

SAMPLE_RATE = 22_050
AUDIO = {".wav", ".mp3", ".ogg", ".flac"}


def write_sound(path: Path, duration_s: float, seed: int, pitches_hz: list[float], sample_rate: int = 44_100) -> None:
    """Tones in noise, stereo."""
    random = np.random.default_rng(seed)
    time_s = np.arange(round(duration_s * sample_rate)) / sample_rate
    sound = sum(np.sin(2 * np.pi * pitch_hz * (1 + 0.01 * random.random()) * time_s) for pitch_hz in pitches_hz)
    stereo = np.stack([sound, 0.8 * sound], axis=1) * 0.1 + 0.01 * random.standard_normal((len(time_s), 2))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, stereo, sample_rate, subtype="PCM_16" if path.suffix == ".wav" else None)


def irmas_tree(root: Path, duration_s: float = 3.0) -> Path:
    """11 class folders, and test excerpts, each with a .txt file."""
    pitch_hz = {code: 150.0 * 1.35**number for number, code in enumerate(INSTRUMENTS)}
    for code in INSTRUMENTS:
        for recording in (1, 2, 3):
            for part in range(1, 3 if recording == 1 else 2):
                name = f"{recording:03d}__[{code}][nod][cla]{recording:04d}__{part}.wav"
                write_sound(root / "IRMAS-TrainingData" / code / name, duration_s, recording, [pitch_hz[code]])
    excerpts = [(("cel", "pia"), 1.0), (("voi",), 2.3), (("flu", "org", "vio"), 1.7)]
    for number, (codes, windows) in enumerate(excerpts):
        excerpt = root / "IRMAS-TestingData-Part1" / "Part1" / f"({number:02d}) a song-{number}.wav"
        write_sound(excerpt, windows * duration_s, 50 + number, [pitch_hz[code] for code in codes])
        excerpt.with_suffix(".txt").write_text("".join(f"{code}\t\n" for code in codes))
    return root


def folder_tree(root: Path) -> Path:
    for number, recording in itertools.product(range(3), range(8)):
        path = root / ("bell", "flute", "tuba")[number] / f"{recording}.wav"
        write_sound(path, 1.0, recording, [200.0 * 3**number], SAMPLE_RATE)
    return root


def gtzan_tree(root: Path) -> Path:
    """Two genres, each with four tracks for training, one for validation and one for test."""
    for genre, (split, number) in itertools.product(("blues", "metal"), (("train", 4), ("validation", 1), ("test", 1))):
        names = [name for name, of in gtzan.split_of_tracks().items() if of == split and name.startswith(genre)]
        for seed, name in enumerate(names[:number]):
            write_sound(root / "genres_original" / genre / f"{name}.wav", 1.0, seed, [220.0 + 10 * seed], SAMPLE_RATE)
    return root


def openmic_tree(root: Path) -> Path:
    """Twenty training and four test clips of three instruments; the third one is often unknown."""
    clips = []
    for number in range(24):
        heard = {"flute": number % 2, "voice": 1 - number % 2}
        if number % 2 == 0:
            heard["trumpet"] = 1.0
        clips.append((f"{number:06d}_3840", "train" if number < 20 else "test", str(number), heard))
    return filled(test_openmic.make_tree(root, clips))


def solo_tree(root: Path) -> Path:
    """Two instruments with four recordings each, and a list of stretches to keep of one recording."""
    for name, number in itertools.product(("cello", "piano"), range(4)):
        pitch_hz = 150.0 if name == "cello" else 700.0
        write_sound(root / name / f"concert {number}.wav", 2.0, number, [pitch_hz], SAMPLE_RATE)
    (root / "cuts.csv").write_text("path,start_s,end_s\ncello/concert 0.wav,0.2,1.5\n")
    return root


def filled(root: Path) -> Path:
    """Writes one second of sound to every empty audio file of a tree."""
    for number, path in enumerate(sorted(root.rglob("*"))):
        if path.suffix in AUDIO and not path.name.startswith("._"):
            write_sound(path, 1.0, number, [200.0 + 40.0 * (number % 50)], SAMPLE_RATE)
    return root


TREES = {
    "irmas": lambda root: irmas_tree(root, 1.0),
    "folder": folder_tree,
    "gtzan": gtzan_tree,
    "fma": lambda root: filled(test_fma.make_tree(root, "medium")),
    "esc50": lambda root: filled(test_esc50.make_tree(root, 2)),
    "openmic": openmic_tree,
    "speech_commands": lambda root: filled(test_speech_commands.make_tree(root, ("yes", "no"))),
    "solo": solo_tree,
    "urbansound8k": lambda root: filled(test_urbansound8k.make_tree(root, 2)),
    "nsynth": lambda root: filled(test_nsynth.make_tree(root, families=("bass", "vocal"))),
    "medley_solos": lambda root: filled(test_medley_solos.make_tree(root)),
    "musicnet": lambda root: filled(
        test_musicnet.make_tree(root, {test_musicnet.QUARTET: 6, (1,): 6}, [(0, (1,))], 1.0)
    ),
    "medleydb": lambda root: filled(test_medleydb.make_tree(root, activations=False)),
}

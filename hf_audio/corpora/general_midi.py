"""General MIDI: a rendered corpus modeled on IRMAS, for trying out everything without a download.

Songs are composed and rendered from a seed, with the SoundFont of pretty_midi:

    ROOT/training/cel/[cel][dru]0012__1.wav   3 s, one predominant instrument over a quieter accompaniment
    ROOT/testing/[nod]0003-1.wav              5 to 20 s, 1 to 5 labels in a .txt next to each, one per line;
                                              every third song is for validation
    ROOT/parameters.json                      seed and sizes; other values need another folder
    ROOT/manifest.json                        written last, to mark the corpus as complete

Clips __1 __2 __3 (or -1 -2) with the same number are from one song: same band, key, tempo and room, different melodies.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np
import pyarrow as pa
import soundfile

from hf_audio.corpora._midi_instruments import LABELLED
from hf_audio.corpora._midi_mix import render_excerpt
from hf_audio.corpora._midi_songs import SPLITS, Excerpt, Song, compose
from hf_audio.corpora._midi_sound import SAMPLE_RATE, load_synthesizer
from hf_audio.corpora._midi_soundfont import find_soundfont, fixed_soundfont
from hf_audio.data.index.table import Clip, CorpusCard, index_of
from hf_audio.environment import usable_cores
from hf_audio.errors import InputError
from hf_audio.files import MAX_LABELS_BYTES, delete_abandoned, read_json, read_text, write_atomically, write_json
from hf_audio.finished_work import require_same
from hf_audio.locks import locked
from hf_audio.terminal import progress

CARD = CorpusCard(
    name="General MIDI instruments",
    license="GPL-2.0",
    may_redistribute=True,
    citation="Rendered by hf_audio with symusic and the SoundFont TimGM6mb (Tim Brechbill, GPL-2) of pretty_midi.",
    homepage="https://github.com/craffel/pretty-midi",
    protocol=(
        "Like IRMAS: trained on 3 s clips with one predominant instrument, validated and tested on excerpts of 5 to 20 "
        "s with 1 to 5 labels, from different songs; window scores averaged per excerpt, micro and macro F1."
    ),
    problem_type="multi_label_classification",
    label_names=tuple(LABELLED),
)
VALIDATION_EVERY = 3  # songs: thresholds for excerpts with several labels must be chosen on such excerpts
RECIPE_VERSION = 1  # increased when the same parameters give other music or sound
EXCERPTS_PER_SONG = {"train": (3, 2, 1), "test": (2, 3, 1)}
TEST_LABEL_COUNTS = (2, 1, 3, 1, 2, 1, 2, 4, 1, 2, 1, 3, 2, 1, 5, 1, 2, 1, 2, 1)
FIXED_SOUNDFONT = "soundfont.sf2"  # exists while the corpus is being rendered
DRUM_TAGS = {"dru": "yes", "nod": "no"}
TRAINING_NAME = re.compile(r"\[(?P<label>\w+)\]\[(?P<drums>\w+)\](?P<song>\d+)__\d+")
TESTING_NAME = re.compile(r"\[(?P<drums>\w+)\](?P<song>\d+)-\d+")


def obtain(
    root: Path,
    *,
    num_train_clips: int = 1100,
    num_test_clips: int = 180,
    seed: int = 0,
    num_workers: int | None = None,
) -> None:
    """Renders the corpus into `root`; the same seed and sizes give the same bytes with any number of processes.

    It can be interrupted at any time and called again: finished clips are kept.

    Args:
        root: folder of the corpus; created if missing.
        num_train_clips: 3 s clips, spread evenly over the classes.
        num_test_clips: excerpts of 5 to 20 s, for validation and test.
        seed: determines everything that is drawn.
        num_workers: processes; None for one per core.

    Raises:
        InputError: a corpus with other parameters is in `root`, the sizes leave a class without clips, or symusic or
            the SoundFont is not installed.
    """
    root = Path(root)
    soundfont = find_soundfont()
    if num_train_clips < len(LABELLED) or num_test_clips < 1:
        raise InputError(
            f"{num_train_clips} training and {num_test_clips} test clips were requested, expected at least "
            f"{len(LABELLED)} training clips (one for each class) and 1 test clip: increase the numbers"
        )
    parameters = {
        "recipe_version": RECIPE_VERSION,
        "num_train_clips": num_train_clips,
        "num_test_clips": num_test_clips,
        "seed": seed,
    }
    try:
        root.mkdir(parents=True, exist_ok=True)
        if not _is_complete(root, parameters):
            with locked(root / ".lock", f"rendering General MIDI in {root}"):
                _render(root, parameters, soundfont, num_workers)
    except OSError as error:
        raise InputError(
            f"The corpus cannot be written to {root} ({error.strerror or error}); free some space, or choose a folder "
            "that you may write to"
        ) from error


def index(root: Path) -> pa.Table:
    """All clips on disk: training clips, and excerpts with a .txt in split "validation" or "test"."""
    root = Path(root)
    clips = [_training_clip(root, path) for path in sorted(root.glob("training/*/*.wav"))]
    clips += [_testing_clip(root, path) for path in sorted(root.glob("testing/*.wav"))]
    if not clips:
        raise InputError(
            f"{root} does not contain a rendered corpus: expected training/CLASS/*.wav and testing/*.wav; render it "
            "with obtain(root) or choose another folder"
        )
    return index_of(clips)


def _training_clip(root: Path, path: Path) -> Clip:
    name = TRAINING_NAME.fullmatch(path.stem)
    if name is None or name["label"] != path.parent.name:
        raise InputError(f"{path} is not a clip of this corpus: expected a name like [cel][dru]0012__1.wav in cel/")
    return Clip(
        path=str(path),
        labels=(name["label"],),
        group=f"train-{name['song']}",
        clip_id=path.relative_to(root).as_posix(),
        split="train",
        metadata={"drums": DRUM_TAGS[name["drums"]]},
    )


def _testing_clip(root: Path, path: Path) -> Clip:
    name = TESTING_NAME.fullmatch(path.stem)
    labels_path = path.with_suffix(".txt")
    if name is None or not labels_path.is_file():
        raise InputError(
            f"{path} is not a clip of this corpus: expected a name like [nod]0003-1.wav and a .txt next to it"
        )
    return Clip(
        path=str(path),
        labels=tuple(read_text(labels_path, MAX_LABELS_BYTES).split()),
        group=f"test-{name['song']}",
        clip_id=path.relative_to(root).as_posix(),
        split="test" if int(name["song"]) % VALIDATION_EVERY else "validation",
        metadata={"drums": DRUM_TAGS[name["drums"]]},
    )


def _is_complete(root: Path, parameters: dict[str, int]) -> bool:
    """Whether the corpus is complete. Raises InputError if the folder has one with other parameters."""
    path = root / "parameters.json"
    if path.exists():
        what, otherwise = f"{root} contains a corpus that", "choose another folder or delete this one"
        require_same(what, read_json(path), parameters, otherwise)
    return (root / "manifest.json").is_file()


def _render(root: Path, parameters: dict[str, int], soundfont: Path, num_workers: int | None) -> None:
    """Renders what is missing, as the only process in the folder; another may have finished it in the meantime."""
    if _is_complete(root, parameters):
        return
    delete_abandoned(root)
    write_json(root / "parameters.json", parameters)
    write_atomically(root / FIXED_SOUNDFONT, fixed_soundfont(soundfont.read_bytes()))
    sizes, seed = (parameters["num_train_clips"], parameters["num_test_clips"]), parameters["seed"]
    _render_all(root, [*_train_songs(sizes[0], seed), *_test_songs(sizes[1], seed)], num_workers)
    (root / FIXED_SOUNDFONT).unlink()
    write_json(root / "manifest.json", parameters)


def _train_songs(num_clips: int, seed: int) -> Iterator[Song]:
    """Songs with one labeled instrument each; classes take turns, so that all get the same number of clips."""
    names = list(LABELLED)
    left = {name: num_clips // len(names) + (i < num_clips % len(names)) for i, name in enumerate(names)}
    number = 0
    while any(left.values()):
        sizes = EXCERPTS_PER_SONG["train"]
        for name in names:
            num_excerpts = min(left[name], sizes[number // len(names) % len(sizes)])
            left[name] -= num_excerpts
            if num_excerpts:
                yield _song("train", number, seed, (name,), num_excerpts)
            number += 1


def _test_songs(num_clips: int, seed: int) -> Iterator[Song]:
    """Songs with 1 to 5 labeled instruments, always those with the fewest excerpts so far."""
    rng = np.random.default_rng([seed, len(SPLITS)])
    counts = dict.fromkeys(LABELLED, 0)
    number = 0
    while num_clips:
        sizes = EXCERPTS_PER_SONG["test"]
        num_excerpts = min(num_clips, sizes[number % len(sizes)])
        num_labels = TEST_LABEL_COUNTS[number % len(TEST_LABEL_COUNTS)]
        tie_breaks = dict(zip(counts, rng.random(len(counts)), strict=True))
        rarest = sorted(counts, key=lambda name: counts[name] + tie_breaks[name])[:num_labels]
        for name in rarest:
            counts[name] += num_excerpts
        yield _song("test", number, seed, tuple(name for name in LABELLED if name in rarest), num_excerpts)
        num_clips -= num_excerpts
        number += 1


def _song(split: str, number: int, seed: int, labels: tuple[str, ...], num_excerpts: int) -> Song:
    return Song(split, number, (seed, SPLITS.index(split), number), labels, num_excerpts)


def _clip_path(root: Path, song: Song, excerpt: Excerpt, take: int) -> Path:
    drums = "dru" if excerpt.has_drums else "nod"
    if song.split == "train":
        label = song.labels[0]
        return root / "training" / label / f"[{label}][{drums}]{song.number:04d}__{take}.wav"
    return root / "testing" / f"[{drums}]{song.number:04d}-{take}.wav"


def _render_song(root: Path, song: Song) -> int:
    """Writes the song's missing clips; returns its number of clips."""
    for take, excerpt in enumerate(compose(song), start=1):
        path = _clip_path(root, song, excerpt, take)
        if path.is_file():
            continue
        if song.split == "test":
            write_atomically(path.with_suffix(".txt"), "".join(f"{label}\n" for label in song.labels).encode())
        synthesizer = load_synthesizer(root / FIXED_SOUNDFONT)
        wave = io.BytesIO()
        soundfile.write(
            wave, render_excerpt(synthesizer, excerpt, song.seed, take), SAMPLE_RATE, subtype="PCM_16", format="WAV"
        )
        write_atomically(path, wave.getvalue())
    return song.num_excerpts


def _render_all(root: Path, songs: list[Song], num_workers: int | None) -> None:
    for song in songs:
        folder = root / "testing" if song.split == "test" else root / "training" / song.labels[0]
        folder.mkdir(parents=True, exist_ok=True)
    if num_workers is None:
        num_workers = usable_cores()
    with progress(total=sum(song.num_excerpts for song in songs), desc="rendering general_midi", unit=" clips") as bar:
        if num_workers == 1:
            for song in songs:
                bar.update(_render_song(root, song))
            return
        # spawn, not fork: the caller may have started threads
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(num_workers, context, initializer=_end_with_parent) as pool:
            try:
                for done in as_completed([pool.submit(_render_song, root, song) for song in songs]):
                    bar.update(done.result())
            except BaseException:
                pool.shutdown(cancel_futures=True)  # otherwise an error or Ctrl-C would wait for all songs
                raise


def _end_with_parent() -> None:
    """Ends this worker with its parent, even if the parent is killed; otherwise it would wait for work forever."""

    def wait() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()

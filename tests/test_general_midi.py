"""The rendered corpus: its files, reproducible bytes, and music as described."""

from __future__ import annotations

import hashlib
import itertools
import os
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy import fft

from hf_audio.corpora import corpus_names, find_corpus, general_midi
from hf_audio.corpora._midi_band import Part
from hf_audio.corpora._midi_instruments import BASSES, COMPERS, LABELLED, PADS
from hf_audio.corpora._midi_mix import ACCOMPANIMENT_UNDER_LEAD_DB, LEAD_SPREAD_DB, loudness, render_stems
from hf_audio.corpora._midi_songs import PHRASE_NOTES, PRE_ROLL_S, Song, compose
from hf_audio.corpora._midi_sound import SAMPLE_RATE, load_synthesizer
from hf_audio.corpora._midi_soundfont import find_soundfont, fixed_soundfont
from hf_audio.data.index.table import rows_of
from hf_audio.errors import InputError

REPO_ROOT = Path(__file__).resolve().parents[1]
SMALL = {"num_train_clips": 66, "num_test_clips": 11}
TINY = {"num_train_clips": 11, "num_test_clips": 3}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("general_midi")
    general_midi.obtain(root, **SMALL, num_workers=2)
    return root


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    """The smallest corpus, rendered by one process without interruption."""
    root = tmp_path_factory.mktemp("tiny")
    general_midi.obtain(root, **TINY, num_workers=1)
    return root


@pytest.fixture(scope="module")
def songs() -> list[Song]:
    return [*general_midi._train_songs(220, seed=0), *general_midi._test_songs(66, seed=0)]


@pytest.fixture(scope="module")
def synthesizer(tmp_path_factory):
    path = tmp_path_factory.mktemp("soundfont") / "fixed.sf2"
    path.write_bytes(fixed_soundfont(find_soundfont().read_bytes()))
    return load_synthesizer(path)


def digests(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_it_is_found_as_a_corpus_but_its_modules_are_not():
    assert find_corpus("general_midi") is general_midi
    assert not [name for name in corpus_names() if "midi" in name and name != "general_midi"]


def test_training_clips_last_3_s_and_have_one_label(corpus):
    clips = [clip for clip in rows_of(general_midi.index(corpus)) if clip.split == "train"]
    assert Counter(clip.labels for clip in clips) == {(label,): 6 for label in general_midi.CARD.label_names}
    for clip in clips:
        info = soundfile.info(clip.path)
        assert (info.samplerate, info.channels, info.subtype) == (44_100, 2, "PCM_16")
        assert info.frames == 3 * 44_100
        assert Path(clip.path).parent.name == clip.labels[0]
        assert clip.metadata["drums"] in ("yes", "no")


def test_test_clips_last_5_to_20_s_and_have_1_to_5_labels(corpus):
    clips = [clip for clip in rows_of(general_midi.index(corpus)) if clip.split != "train"]
    assert len(clips) == 11 and {clip.split for clip in clips} == {"validation", "test"}
    for clip in clips:
        assert 5.0 <= soundfile.info(clip.path).duration <= 20.0
        assert 1 <= len(clip.labels) <= 5
        assert tuple(Path(clip.path).with_suffix(".txt").read_text().split()) == clip.labels
    assert len({len(clip.labels) for clip in clips}) > 1
    assert {label for clip in clips for label in clip.labels} <= set(LABELLED)


def test_songs_are_groups_of_several_clips_in_one_split(corpus):
    clips = list(rows_of(general_midi.index(corpus)))
    groups = defaultdict(set)
    for clip in clips:
        groups[clip.group].add(clip.split)
    assert all(len(splits) == 1 for splits in groups.values())
    assert max(Counter(clip.group for clip in clips).values()) == 3
    for label in LABELLED:
        assert len({clip.group for clip in clips if clip.split == "train" and clip.labels == (label,)}) >= 3
    assert len({clip.clip_id for clip in clips}) == len(clips)
    assert all((corpus / clip.clip_id) == Path(clip.path) for clip in clips)


def test_clips_are_not_silent_and_not_clipped(corpus):
    for clip in list(rows_of(general_midi.index(corpus))):
        samples, _ = soundfile.read(clip.path, dtype="int16")
        assert 32768 * 10 ** (-15 / 20) < np.abs(samples.astype(np.int32)).max() < 32767
        thirds = np.array_split(samples.astype(np.float64), 3)
        assert min(np.sqrt(np.mean(third**2)) for third in thirds) > 50


def test_the_default_corpus_has_all_classes_equally_often():
    train = Counter(song.labels[0] for song in general_midi._train_songs(1100, 0) for _ in range(song.num_excerpts))
    assert set(train.values()) == {100}
    tests = list(general_midi._test_songs(180, 0))
    counts = Counter(label for song in tests for label in song.labels for _ in range(song.num_excerpts))
    assert max(counts.values()) - min(counts.values()) <= 3
    assert {len(song.labels) for song in tests} == {1, 2, 3, 4, 5}


def test_the_same_seed_gives_the_same_bytes_with_any_number_of_processes(tmp_path):
    for name, num_workers, seed in (("one", 1, 7), ("two", 2, 7), ("other", 1, 8)):
        general_midi.obtain(tmp_path / name, **TINY, seed=seed, num_workers=num_workers)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    ours, others = (
        {digest for name, digest in digests(tmp_path / root).items() if name.endswith(".wav")}
        for root in ("one", "other")
    )
    assert len(ours) == len(others) == 14 and not ours & others


def test_a_killed_rendering_is_resumed_and_nothing_is_rendered_twice(tiny, tmp_path):
    code = f"""
import time
from pathlib import Path
from hf_audio.corpora import general_midi
render = general_midi._render_song
def slowly(*song):
    time.sleep(0.3)  # otherwise it could finish before it is killed
    return render(*song)
general_midi._render_song = slowly
if __name__ == "__main__":
    general_midi.obtain(Path({str(tmp_path)!r}), **{TINY}, num_workers=2)
"""
    script = tmp_path.parent / f"{tmp_path.name}_render.py"
    script.write_text(code)
    environment = os.environ | {"PYTHONPATH": str(REPO_ROOT)}
    process = subprocess.Popen([sys.executable, script], env=environment, start_new_session=True)
    deadline = time.monotonic() + 120
    while len(list(tmp_path.rglob("*.wav"))) < 4:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()
    _wait_until_no_process_is_left(process.pid)
    finished = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.wav")}
    assert 4 <= len(finished) < 14 and not (tmp_path / "manifest.json").exists()
    (tmp_path / "training" / f".clip.wav.{'0a' * 8}.tmp").write_bytes(b"what a kill may leave")

    general_midi.obtain(tmp_path, **TINY, num_workers=2)
    assert digests(tmp_path) == digests(tiny)
    assert all(path.stat().st_mtime_ns == written for path, written in finished.items())


def _wait_until_no_process_is_left(session: int) -> None:
    """Workers of a killed parent must end on their own, so that they stop writing."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            os.killpg(session, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    os.killpg(session, signal.SIGKILL)
    pytest.fail("workers outlived their parent")


def test_two_processes_at_once_render_one_complete_corpus(tiny, tmp_path, forks):
    code = f"""
from pathlib import Path
from hf_audio.corpora import general_midi
general_midi.obtain(Path({str(tmp_path / "both")!r}), num_train_clips=11, num_test_clips=3, num_workers=1)
"""
    both = [forks.start(code) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0], [process.errors for process in both]
    waited = ["Another process is rendering General MIDI" in process.errors for process in both]
    assert sorted(waited) == [False, True], "exactly one process must wait"
    assert digests(tmp_path / "both") == digests(tiny)


def test_a_complete_corpus_is_not_changed_and_other_parameters_are_refused(corpus):
    before = {path: path.stat().st_mtime_ns for path in corpus.rglob("*")}
    general_midi.obtain(corpus, **SMALL)
    for other in ({**SMALL, "seed": 1}, {**SMALL, "num_test_clips": 12}):
        with pytest.raises(InputError, match="choose another folder") as error:
            general_midi.obtain(corpus, **other)
        assert ("seed was 0 and is now 1" in str(error.value)) == ("seed" in other)
    assert {path: path.stat().st_mtime_ns for path in corpus.rglob("*")} == before


def test_an_unfinished_corpus_with_other_parameters_is_refused_too(corpus, tmp_path):
    (tmp_path / "parameters.json").write_bytes((corpus / "parameters.json").read_bytes())
    with pytest.raises(InputError, match="num_train_clips was 66 and is now 11"):
        general_midi.obtain(tmp_path, **TINY)


@pytest.mark.parametrize("sizes", [{"num_train_clips": 10}, {"num_test_clips": 0}])
def test_sizes_that_leave_a_class_or_split_empty_are_refused(tmp_path, sizes):
    with pytest.raises(InputError, match="at least 11"):
        general_midi.obtain(tmp_path / "corpus", **{**TINY, **sizes})
    assert not (tmp_path / "corpus").exists()


def test_a_folder_that_cannot_be_created_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        general_midi.obtain(tmp_path / "file" / "corpus", **TINY)


@pytest.mark.parametrize("package", ["symusic", "pretty_midi"])
def test_a_missing_package_names_the_extra(tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=r'pip install "hf_audio\[demo\]"'):
        general_midi.obtain(tmp_path, **TINY)


def test_a_folder_with_something_else_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not contain a rendered corpus"):
        general_midi.index(tmp_path)
    (tmp_path / "testing").mkdir()
    (tmp_path / "testing" / "song.wav").touch()
    with pytest.raises(InputError, match=r"song\.wav is not a clip of this corpus"):
        general_midi.index(tmp_path)


def test_instruments_stay_in_range_and_accompaniment_is_of_no_class(songs):
    labeled_programs = {instrument.program for family in LABELLED.values() for instrument in family}
    accompanying = {instrument.program for instrument in (*BASSES, *PADS, *COMPERS)}
    assert not labeled_programs & accompanying
    for song in songs:
        for excerpt in compose(song):
            assert tuple(part.label for part in excerpt.leads) == song.labels
            for part in (*excerpt.leads, *excerpt.accompaniment):
                pitches = [note.pitch for note in part.notes]
                assert part.instrument.lowest <= min(pitches) and max(pitches) <= part.instrument.highest
                assert part.label is None or part.instrument in LABELLED[part.label]


def test_songs_differ_in_key_tempo_register_and_articulation(songs):
    leads = [part for song in songs for excerpt in compose(song) for part in excerpt.leads]
    lowest = {label: [] for label in LABELLED}
    for part in leads:
        lowest[part.label].append(min(note.pitch for note in part.notes))
    assert all(max(pitches) - min(pitches) >= 5 for pitches in lowest.values())
    notes_per_s = [len(part.phrase) / (part.notes[-1].onset_s + part.notes[-1].duration_s) for part in leads]
    assert np.quantile(notes_per_s, 0.9) > 2.5 * np.quantile(notes_per_s, 0.1)
    held_s = [np.median([note.duration_s for note in part.notes]) for part in leads]
    assert np.quantile(held_s, 0.9) > 4 * np.quantile(held_s, 0.1)


def phrases(part: Part) -> set[tuple]:
    """All sequences of PHRASE_NOTES notes as intervals and rhythm, independent of key and tempo."""
    return {part.phrase[first : first + PHRASE_NOTES] for first in range(len(part.phrase) - PHRASE_NOTES + 1)}


def test_no_phrase_of_a_test_song_is_in_a_training_song(songs):
    found = {"train": set(), "test": set()}
    num_single_lines = 0
    for song in songs:
        for excerpt in compose(song):
            for part in excerpt.leads:
                found[song.split] |= phrases(part)
                if len(part.notes) == len(part.phrase):  # one voice, so the notes must be the phrase
                    num_single_lines += 1
                    intervals = [after.pitch - before.pitch for before, after in itertools.pairwise(part.notes)]
                    assert intervals == [interval for interval, _ in part.phrase[1:]]
    assert num_single_lines > 100
    assert min(len(found["train"]), len(found["test"])) > 500
    assert not found["train"] & found["test"]


def test_loudness_is_a_weighted_level():
    hz = np.linspace(0.0, SAMPLE_RATE / 2, 22_051)
    at = {f: 20 * np.log10(loudness((np.abs(hz - f) < 0.1).astype(np.float32))) for f in (100, 1000, 10_000)}
    assert at[100] - at[1000] == pytest.approx(-19.1, abs=0.2)  # IEC 61672-1, table 3
    assert at[10_000] - at[1000] == pytest.approx(-2.5, abs=0.2)


def test_the_accompaniment_is_quieter_than_every_labeled_instrument(songs, synthesizer):
    for song in [*songs[:44:4], *songs[-12::3]]:
        excerpt = compose(song)[0]
        stems = render_stems(synthesizer, excerpt, np.random.default_rng(song.seed), np.random.default_rng(0))
        leads_db = [20 * np.log10(loudness(lead)) for lead in stems.leads]
        under_db = min(leads_db) - 20 * np.log10(loudness(sum(stems.accompaniment)))
        nearest, farthest = ACCOMPANIMENT_UNDER_LEAD_DB
        assert 6.0 <= nearest <= under_db + 0.01 and under_db <= farthest + 0.01
        assert max(leads_db) - min(leads_db) <= LEAD_SPREAD_DB + 0.01
        for lead in stems.leads:
            samples = fft.irfft(lead)[round(PRE_ROLL_S * SAMPLE_RATE) : stems.num_samples]
            frames = samples[: len(samples) // 8820 * 8820].reshape(-1, 8820)  # frames of 0.2 s
            level = np.sqrt(np.mean(np.square(frames), axis=1))
            assert np.mean(level > 0.03 * level.max()) > 0.6


@pytest.mark.parametrize(("program", "pitch"), [(40, 60), (40, 71), (40, 88), (42, 60), (0, 60), (27, 72), (53, 60)])
def test_the_soundfont_is_in_tune(synthesizer, program, pitch):
    """Fails with the original SoundFont: symusic ignores root keys of its zones, so violins are up to an octave off."""
    from symusic import Note, Score, Track

    track = Track(name="", program=program, is_drum=False, ttype="second")
    track.notes.append(Note(0.0, 1.0, pitch, 100, ttype="second"))
    score = Score(ttype="second")
    score.tracks.append(track)
    samples = synthesizer.render(score, stereo=False)[0][4410:44_100]
    magnitude = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 2**18))
    cents = np.arange(-1300, 1301, 10)
    fundamentals = 440.0 * 2.0 ** ((pitch - 69) / 12.0 + cents / 1200.0)
    harmonics = np.round(np.outer(fundamentals, [1, 2, 3, 4]) * 2**18 / SAMPLE_RATE).astype(int)
    assert abs(cents[np.log(magnitude[harmonics] + 1e-6).sum(axis=1).argmax()]) <= 30

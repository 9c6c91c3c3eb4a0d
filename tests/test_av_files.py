"""Recordings that libsndfile cannot read: m4a, aac, wma, webm, amr and the sound of videos."""

from __future__ import annotations

import io
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

av = pytest.importorskip("av", reason="these files need PyAV: pip install hf_audio[av]")

from av_files import KINDS, tone, write_recording  # noqa: E402

from hf_audio.corpora.folder import index  # noqa: E402
from hf_audio.data.recordings.audio import AudioError, probe, read_audio, read_blocks, read_pieces  # noqa: E402

# Codecs may add or remove this much at either end
PADDING_S = 0.15


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> dict[str, Path]:
    """A file in each format that the installed PyAV can write."""
    folder, made = tmp_path_factory.mktemp("recordings"), {}
    for kind in KINDS:
        try:
            made[kind] = write_recording(folder / kind, kind)
        except av.codec.codec.UnknownCodecError:
            continue
    return made


def recording(recordings: dict[str, Path], kind: str) -> Path:
    if kind not in recordings:
        pytest.skip(f"this PyAV has no encoder for {KINDS[kind][0]}")
    return recordings[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_length_rate_channels_and_sound(recordings, kind):
    path = recording(recordings, kind)
    _, _, rate, channels, _ = KINDS[kind]
    info = probe(path)
    assert (info.sample_rate, info.channels) == (rate, channels)
    assert info.duration_s == pytest.approx(2.0, abs=PADDING_S)
    sound = read_audio(path, rate)
    assert len(sound) == pytest.approx(2 * rate, abs=PADDING_S * rate)
    middle = sound[rate // 2 : rate // 2 + rate]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(rate)))
    assert spectrum.argmax() == 440, "a tone of 440 Hz"
    assert np.sqrt(2 * np.mean(middle**2)) == pytest.approx(0.4, rel=0.25)


@pytest.mark.parametrize("kind", ["phone.m4a", "stream.aac", "browser.webm", "windows.wma", "messenger.amr"])
def test_bytes_blocks_pieces_excerpts_and_stereo_agree(recordings, kind):
    path = recording(recordings, kind)
    whole, rate = read_audio(path, 16_000), KINDS[kind][2]
    content = io.BytesIO(path.read_bytes())
    assert np.array_equal(read_audio(content, 16_000), whole) and probe(content) == probe(path)
    assert np.array_equal(np.concatenate(list(read_pieces(content, 16_000))), whole)
    own = read_audio(path, rate)
    blocks = np.concatenate(list(read_blocks(content)))
    np.testing.assert_allclose(blocks.mean(axis=1), own, atol=1e-6)
    stretch = read_audio(content, rate, 0.5, 1.25)
    assert np.array_equal(stretch, own[round(0.5 * rate) : round(1.25 * rate)]) and len(stretch) > 0.7 * rate
    assert read_audio(path, rate, stereo=True).shape == (2, len(own))


@pytest.mark.parametrize("kind", ["phone.m4a", "browser.webm"])
def test_an_excerpt_of_a_long_recording_is_reached_by_seeking(tmp_path, kind):
    """The start is exact in m4a. In webm it is exact to a millisecond, the resolution of its timestamps."""
    rate = KINDS[kind][2]
    rising = np.sin(2 * np.pi * np.cumsum(np.linspace(300, 3000, 60 * rate)) / rate) * 0.3
    path = write_recording(tmp_path / kind, kind, sound=rising)
    whole, jumped = read_audio(path, rate)[45 * rate : 46 * rate], read_audio(path, rate, 45.0, 46.0)
    assert len(jumped) == rate
    most = 0 if kind == "phone.m4a" else rate // 1000
    shifts = [
        shift
        for shift in range(-most, most + 1)
        if np.abs(np.roll(jumped, shift) - whole)[most + 1 : -most - 1].max() < 0.02
    ]
    assert shifts


def test_a_lossless_recording_has_the_same_samples(recordings):
    path = recording(recordings, "lossless.m4a")
    assert np.abs(read_audio(path, 48_000)[: 2 * 48_000] - tone(2.0, 48_000)).max() < 2**-15


def test_class_folders_of_these_formats_are_a_corpus(recordings, tmp_path):
    for number, path in enumerate(recordings.values()):
        folder = tmp_path / f"class {number % 2}"
        folder.mkdir(exist_ok=True)
        (folder / path.name).symlink_to(path)
    assert len(index(tmp_path)) == len(recordings)


# Defects


def test_truncated_recordings_are_refused(recordings, tmp_path):
    """The duration of a truncated webm is not stored elsewhere, and truncation of an aac cannot be detected."""
    content = recordings["phone.mp4"].read_bytes()
    (tmp_path / "cut.mp4").write_bytes(content[: len(content) // 2])
    with pytest.raises(AudioError, match="unreadable: "):
        read_audio(tmp_path / "cut.mp4", 16_000)


def test_a_video_without_sound(tmp_path):
    with av.open(str(tmp_path / "silent.mp4"), "w") as file:
        video = file.add_stream("mpeg4", rate=10)
        video.width = video.height = 64
        video.pix_fmt = "yuv420p"
        file.mux(video.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        file.mux(video.encode(None))
    with pytest.raises(AudioError, match="without sound: it has no audio stream"):
        read_audio(tmp_path / "silent.mp4", 16_000)


def test_silence_is_refused(tmp_path):
    path = write_recording(tmp_path / "silent.m4a", "lossless.m4a", sound=np.zeros(48_000))
    with pytest.raises(AudioError, match="silent"):
        read_audio(path, 16_000)


def test_damaged_files_in_formats_of_libsndfile_are_not_given_to_pyav(tmp_path, monkeypatch):
    monkeypatch.setattr("hf_audio.data.recordings.ffmpeg._library", lambda: pytest.fail("PyAV was asked"))
    soundfile.write(tmp_path / "called.m4a", tone(1.0, 16_000), 16_000, format="MP3")
    assert len(read_audio(tmp_path / "called.m4a", 16_000)) > 15_000
    (tmp_path / "text.m4a").write_bytes(b"no sound at all, " * 50)
    with pytest.raises(AudioError, match="Format not recognised"):
        read_audio(tmp_path / "text.m4a", 16_000)


def test_without_pyav_the_error_names_the_extra(recordings, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(AudioError, match=r'unreadable: .* pip install "hf_audio\[av\]"'):
        read_audio(recordings["phone.m4a"], 16_000)


def test_playlists_are_not_followed(tmp_path):
    """Formats that refer to other files or addresses are never opened."""
    soundfile.write(tmp_path / "secret.wav", tone(1.0, 16_000), 16_000)
    for name, text in (
        ("a.m3u8", "#EXTM3U\n#EXTINF:1,\nsecret.wav\n"),
        ("a.ffconcat", "ffconcat version 1.0\nfile secret.wav\n"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(AudioError, match="Format not recognised"):
            read_audio(tmp_path / name, 16_000)


@pytest.mark.timeout(120)
def test_broken_files_are_decoded_or_refused(recordings, tmp_path):
    """In a separate process, which must not crash, hang or use up memory."""
    shuffled, seeds = random.Random(0), []
    for kind, path in recordings.items():
        content = path.read_bytes()
        for number in range(12):
            broken = bytearray(content)
            place = shuffled.randrange(len(broken))
            if number % 4 == 0:
                broken = broken[:place]
            elif number % 4 == 1:  # headers are mostly at the start
                for _ in range(8):
                    broken[shuffled.randrange(min(600, len(broken)))] = shuffled.randrange(256)
            elif number % 4 == 2:
                broken[place : place + 40] = shuffled.randbytes(40)
            else:
                broken[place : place + 4] = b"\xff\xff\xff\xff"
            seeds.append(tmp_path / f"{number}_{kind}")
            seeds[-1].write_bytes(broken)
    code = (
        "import resource, sys, warnings\n"
        "resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))\n"
        "import numpy as np\n"
        "from hf_audio.data.recordings.audio import AudioError, probe, read_audio\n"
        "for path in sys.argv[1:]:\n"
        "    for read in (lambda: read_audio(path, 16000), lambda: read_audio(path, 16000, 0.5, 1.0)):\n"
        "        try: assert np.isfinite(read()).all()\n"
        "        except AudioError as error: print(error.reason)\n"
        "print('through')"
    )
    root = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, seeds)], cwd=root, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0 and done.stdout.endswith("through\n"), done.stderr[-2000:]
    assert "unreadable" in done.stdout and done.stderr == ""

"""Features of recordings on the Hub, over HTTP: each byte is requested once, faults are survived, bytes are equal."""

from __future__ import annotations

import dataclasses
import filecmp
from pathlib import Path

import pytest
from hub_server import Hub
from sound_containers import contained, placed
from tone_corpus import CARD, HOP_S, LABELS, WINDOW_S, tone_clips

from hf_audio.data.building import pieces
from hf_audio.data.building.build import build_features
from hf_audio.data.index.table import Clip, index_of
from hf_audio.data.recordings import hub_files
from hf_audio.errors import InputError
from hf_audio.kinds._kaldi_fbank import KaldiFbank
from hf_audio.preparation.window_lengths import default_window_s

REPO = "alice/tones"


@pytest.fixture(scope="module")
def containers(tones) -> tuple[list[Clip], dict[str, bytes]]:
    return contained(tone_clips(tones), "parquet", 40)


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch):
    monkeypatch.setattr(pieces, "PIECE_BYTES", 700_000)  # 17 recordings
    monkeypatch.setattr(hub_files, "BLOCK_BYTES", 200_000)


def on_hub(hub: Hub, clips: list[Clip], files: dict[str, bytes], **options) -> list[Clip]:
    repo = hub.create("datasets", REPO, files, **options)
    return placed(clips, f"hf://datasets/{REPO}@{repo.resolve().oid}")


def build_of(clips: list[Clip], folder: Path, **options) -> Path:
    options = {"num_workers": 1, "card": CARD, "window_s": WINDOW_S, "hop_s": HOP_S} | options
    return build_features(index_of(clips), LABELS, folder, KaldiFbank(), **options)


def assert_same(folder: Path, other: Path) -> None:
    names = [sorted(str(path.relative_to(one)) for path in one.rglob("*") if path.is_file()) for one in (folder, other)]
    assert names[0] == names[1]
    _, different, errors = filecmp.cmpfiles(folder, other, set(names[0]) - {"plan.json"}, shallow=False)
    assert not different and not errors


def test_each_byte_is_requested_once(hub, tone_features, containers, tmp_path):
    clips = on_hub(hub, *containers)
    folder = build_of(clips, tmp_path / "features")
    assert_same(folder, tone_features)
    num_bytes = sum(map(len, containers[1].values()))
    footers = 8 << 16  # of two files for cutting them, and of each of their pieces
    assert num_bytes - (1 << 17) < hub.log.bytes_sent("GET") < num_bytes + footers
    hub.log.clear()
    assert build_of(clips, folder) == folder and not hub.log.requests, "a finished dataset needs no request"


@pytest.mark.parametrize("kind", ["tar", "file"])
def test_tars_and_files(hub, tones, tone_features, tmp_path, kind, monkeypatch):
    clips = tone_clips(tones)
    if kind == "tar":
        clips, files = contained(clips, "tar", 40)
    else:
        monkeypatch.setattr(hub_files, "MAX_HELD_BYTES", 1000)  # so temporary files are used
        files = {f"audio/{Path(clip.path).name}": Path(clip.path).read_bytes() for clip in clips}
        clips = [dataclasses.replace(clip, path=f"audio/{Path(clip.path).name}") for clip in clips]
    clips = on_hub(hub, clips, files)
    assert default_window_s(index_of(clips)) == 1.3
    assert_same(build_of(clips, tmp_path / "features"), tone_features)


def test_a_missing_file_is_excluded(hub, tones, tmp_path):
    clips = tone_clips(tones)
    files = {Path(clip.path).name: Path(clip.path).read_bytes() for clip in clips[1:]}
    clips = on_hub(hub, [dataclasses.replace(clip, path=Path(clip.path).name) for clip in clips], files)
    folder = build_of(clips, tmp_path / "features")
    assert (folder / "excluded.csv").read_text().splitlines() == ["clip_id,reason", f"{clips[0].clip_id},missing"]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("503", {"skip": 5}),
        ("drop_after", {"skip": 6, "after_bytes": 50_000}),
        ("reset", {"skip": 8, "after_bytes": 9}),
    ],
)
def test_a_connection_that_breaks_within_a_file(hub, tone_features, containers, tmp_path, kind, options):
    clips = on_hub(hub, *containers)
    hub.faults.add("GET", r"/[0-9a-f]{64}", kind, times=2, **options)  # on the storage origin, which serves large files
    assert_same(build_of(clips, tmp_path / "features"), tone_features)
    assert hub.faults.take("GET", f"/{64 * '0'}") is None, "the fault did not occur"


def test_a_connection_that_stalls_within_a_file(hub, tone_features, containers, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 1)
    clips = on_hub(hub, *containers)
    hub.faults.add("GET", r"/[0-9a-f]{64}", "stall", skip=6, after_bytes=5000, seconds=30)
    assert_same(build_of(clips, tmp_path / "features"), tone_features)
    assert hub.faults.take("GET", f"/{64 * '0'}") is None, "the fault did not occur"


def test_an_unavailable_hub_is_reported_and_pieces_are_kept(hub, tone_features, containers, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda seconds: None)
    clips = on_hub(hub, *containers)
    hub.faults.add("GET", r"train-00001.*parquet", "503", times=10_000, skip=8)
    with pytest.raises(InputError, match="The Hub refused access to alice/tones") as caught:
        build_of(clips, tmp_path / "features")
    assert "\n" not in str(caught.value)
    kept = list((tmp_path / "features/.build/pieces").glob("*.json"))
    assert kept
    hub.faults.clear()
    hub.log.clear()
    assert_same(build_of(clips, tmp_path / "features"), tone_features)
    assert hub.log.bytes_sent("GET") < 0.8 * sum(map(len, containers[1].values()))


def test_a_new_commit_during_the_build(hub, tone_features, containers, tmp_path, monkeypatch):
    """A build reads its own commit to the end; the same command at the new commit is told how to continue."""
    clips = on_hub(hub, *containers)
    old = hub.repo("datasets", REPO).resolve().oid
    build_piece, calls = pieces.PieceBuilder.build, []

    def interrupted(self, piece, report):
        calls.append(piece.name)
        if len(calls) == 2:
            hub.repo("datasets", REPO).commit({name: b"other" for name in containers[1]})
        if len(calls) == 4:
            raise KeyboardInterrupt
        build_piece(self, piece, report)

    monkeypatch.setattr(pieces.PieceBuilder, "build", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build_of(clips, tmp_path / "features")
    new = hub.repo("datasets", REPO).resolve().oid
    moved = [dataclasses.replace(clip, path=clip.path.replace(old, new)) for clip in clips]
    with pytest.raises(
        InputError, match=rf"dataset was .*{REPO}@{old}.* and is now .*@{new}.*; give --dataset_revision"
    ):
        build_of(moved, tmp_path / "features")
    assert_same(build_of(clips, tmp_path / "features"), tone_features)


def test_a_private_dataset_with_a_token_that_is_written_nowhere(hub, tone_features, containers, tmp_path):
    """In worker processes, which get the token from their parent and not from the environment."""
    token = hub.token("alice")
    clips = on_hub(hub, *containers, private=True)
    folder = tmp_path / "features"
    with pytest.raises(InputError, match="does not exist, or this token may not read it") as caught:
        build_of(clips, folder)
    assert token not in str(caught.value)
    build_piece, seen = pieces.PieceBuilder.facts, []

    def looking(self, *arguments):
        seen.extend(path for path in folder.rglob("*") if path.is_file())
        assert not any(token.encode() in path.read_bytes() for path in seen)
        assert token not in repr(self)
        return build_piece(self, *arguments)

    pieces.PieceBuilder.facts = looking
    try:
        build_of(clips, folder, num_workers=2, token=token)
    finally:
        pieces.PieceBuilder.facts = build_piece
    assert seen
    assert_same(folder, tone_features)
    assert not any(token.encode() in path.read_bytes() for path in folder.rglob("*") if path.is_file())

"""scripts/download_corpus.py: one command per corpus, subsets, verifying, and the list of corpora."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest
import test_downloading
import test_esc50
import test_fma
from test_archives import contents, zipped
from test_downloading import CARD, md5

from hf_audio import InputError
from hf_audio.corpora import corpus_names, esc50, find_corpus, fma, nsynth
from hf_audio.corpora._archives import FILE_LIST
from hf_audio.corpora._source import Archive, Archives
from hf_audio.preparation.read_corpora import recordings

pytest.importorskip("pooch")
ROOT = Path(__file__).parents[1]
server, esc50_server = test_downloading.server, test_downloading.esc50_server


def run_script(monkeypatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["download_corpus.py", *map(str, arguments)])
    try:
        runpy.run_path(str(ROOT / "scripts" / "download_corpus.py"), run_name="__main__")
    except SystemExit as stop:
        return stop.code or 0
    return 0


def test_one_command_downloads_a_corpus_once(tmp_path, esc50_server, monkeypatch, capsys):
    root = tmp_path / "corpus"
    assert run_script(monkeypatch, "esc50", "--data_dir", root) == 0
    shown = capsys.readouterr().out
    assert re.search(r"Downloading ESC-50, 1.0 MB; license: CC BY-NC 3.0; see https", shown)
    assert f"20 clips. To use them, give a recipe --corpus esc50 --data_dir {root}" in shown
    assert len(esc50.index(root)) == 20
    assert {path.name for path in root.iterdir()} <= {"ESC-50-master", ".downloading.lock"}
    assert len(esc50_server.log) == 1
    assert run_script(monkeypatch, "esc50", "--data_dir", root) == 0
    assert len(esc50_server.log) == 1 and "license" not in capsys.readouterr().out


def test_verify_finds_truncated_missing_and_changed_files(tmp_path, esc50_server, monkeypatch, capsys):
    esc50.obtain(tmp_path)
    assert run_script(monkeypatch, "esc50", "--data_dir", tmp_path, "--verify") == 0
    assert "every file exists and has the right content" in capsys.readouterr().out
    folder = tmp_path / "ESC-50-master"
    long = folder / "audio" / "1-100001-A-0.wav"
    changed = bytearray(long.read_bytes())
    changed[500_000] ^= 1
    long.write_bytes(changed)
    (folder / "audio" / "1-100001-B-0.wav").unlink()
    table = folder / "meta" / "esc50.csv"
    table.write_bytes(table.read_bytes()[:100])
    assert run_script(monkeypatch, "esc50", "--data_dir", tmp_path, "--verify") == 2
    shown = capsys.readouterr()
    assert re.search(r"\| ESC-50-master/audio/1-100001-A-0.wav \| changed, CRC-32 \w{8} \| 1,000,000 bytes", shown.out)
    assert re.search(r"\| ESC-50-master/audio/1-100001-B-0.wav \| missing \| 0 bytes", shown.out)
    assert re.search(r"\| ESC-50-master/meta/esc50.csv \| 100 bytes \|", shown.out)
    assert "error: 3 files of ESC-50" in shown.err and f"delete {folder} and run" in shown.err


def test_corpora_that_cannot_be_verified_are_reported(tmp_path, esc50_server, monkeypatch, capsys):
    test_esc50.make_tree(tmp_path)
    assert run_script(monkeypatch, "esc50", "--data_dir", tmp_path, "--verify") == 2
    assert "was not downloaded by this program" in capsys.readouterr().err
    assert run_script(monkeypatch, "general_midi", "--data_dir", tmp_path, "--verify") == 2
    assert "General MIDI instruments (rendered), so it cannot be verified" in capsys.readouterr().err
    (tmp_path / "ESC-50-master" / FILE_LIST).write_text("nonsense\n1\n")
    with pytest.raises(InputError, match="cannot be read as a list of files"):
        esc50.SOURCE.verify(tmp_path, CARD)


def test_subsets_are_stored_side_by_side(tmp_path, server, monkeypatch, capsys):
    for subset in ("small", "medium"):
        files = contents(test_fma.make_tree(tmp_path / subset, subset))
        for part in ("fma_metadata", f"fma_{subset}"):
            server.files[f"{part}.zip"] = zipped({name: data for name, data in files.items() if name.startswith(part)})
    archive = {
        name[:-4]: Archive(f"{server.url}/{name}", name[:-4], 1e6, 1e6, md5(file))
        for name, file in server.files.items()
    }
    subsets = {name: (archive["fma_metadata"], archive[f"fma_{name}"]) for name in ("small", "medium")}
    monkeypatch.setattr(fma, "SOURCE", Archives(subsets))
    root = tmp_path / "corpora" / "fma"
    for subset, flags in (("medium", ["--subset", "medium"]), ("small", [])):  # the default is small
        assert run_script(monkeypatch, "fma", "--data_dir", root, *flags) == 0
        shown = re.search(
            r"(\d+) clips. To use them, give a recipe --corpus fma --data_dir (.+)", capsys.readouterr().out
        )
        assert shown[2] == str(root / f"fma_{subset}") and int(shown[1]) == len(fma.index(Path(shown[2])))
    assert len(fma.index(root / "fma_small")) < len(fma.index(root / "fma_medium"))
    monkeypatch.chdir(tmp_path)
    assert recordings("fma", None) == Path("corpora/fma/fma_small"), "recipes do the same without --data_dir"
    assert sorted(name for name, _ in server.log) == ["fma_medium.zip", "fma_metadata.zip", "fma_small.zip"]
    assert run_script(monkeypatch, "fma", "--data_dir", root, "--subset", "medum") == 2
    assert "Unknown subset 'medum': did you mean 'medium'?" in capsys.readouterr().err
    assert run_script(monkeypatch, "esc50", "--data_dir", root, "--subset", "x") == 2
    assert "ESC-50 has no subsets" in capsys.readouterr().err


def test_corpora_without_download_name_their_source(tmp_path, monkeypatch, capsys):
    assert run_script(monkeypatch, "solo", "--data_dir", tmp_path) == 2
    assert re.search(r"error: .* expected a folder for each instrument", capsys.readouterr().err)
    assert run_script(monkeypatch) == 2
    assert "--list shows all" in capsys.readouterr().err


def test_list_shows_every_corpus(monkeypatch, capsys):
    assert run_script(monkeypatch, "--list") == 0
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[0] for row in rows] == corpus_names()
    how = {row[0]: row[3] for row in rows if len(row) > 3}
    assert how["irmas"] == "mirdata" and how["esc50"] == "download" and "medium" in how["fma"]


def test_addresses_and_checksums_are_well_formed():
    sources = [getattr(find_corpus(name), "SOURCE", None) for name in corpus_names()]
    archives = {
        archive for one in sources if isinstance(one, Archives) for subset in one.subsets.values() for archive in subset
    }
    assert len(archives) == 13 and nsynth.SOURCE.subsets["test"][0].name == "nsynth-test.jsonwav.tar.gz"
    digits = {"md5": 32, "sha1": 40, "sha256": 64}
    for archive in archives:
        assert archive.url.startswith("https://") and archive.name and "/" not in archive.folder
        assert 0 < archive.num_bytes <= archive.unpacked_bytes
        kind, _, digest = archive.checksum.partition(":")
        assert re.fullmatch(f"[0-9a-f]{{{digits[kind]}}}", digest), archive

"""`hf-audio tag` as users run it: folders, lists, stdin, resumed results, unreadable files."""

from __future__ import annotations

import csv
import gc
import io
import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import transformers
from packaging.version import Version
from tagging_models import save_classifier, write_sound

import hf_audio
from hf_audio.commands import tag
from hf_audio.commands.main import commands
from hf_audio.commands.main import main as hf_audio_command
from hf_audio.environment import quick_imports
from hf_audio.errors import InputError
from hf_audio.tagging.formats import FORMATS

COMMAND = "from hf_audio.commands.main import main; main()"
NUM_FILES = 300


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(save_classifier(tmp_path_factory.mktemp("models") / "cnn", "cnn"))


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Several hundred short recordings of many lengths in subfolders, and a file that is no audio."""
    root = tmp_path_factory.mktemp("recordings")
    for number in range(NUM_FILES):
        write_sound(root / f"{number % 7}" / f"{number:03}.wav", 0.05 + 0.13 * (number % 11), seed=number % 5)
    (root / "3" / "broken.wav").write_bytes(b"PK\x03\x04" + bytes(500))
    (root / "notes.txt").write_text("none")
    os.mkfifo(root / "3" / "pipe.wav")
    return root


def rows_of(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


def test_a_folder_with_one_broken_file(recordings, model, tmp_path, caplog):
    output = tmp_path / "tags.csv"
    assert tag.main([str(recordings), "--model", model, "--format", "csv", "--output", str(output)]) == 1
    rows = rows_of(output.read_text())
    files = list(dict.fromkeys(row[0] for row in rows[1:]))
    assert len(files) == NUM_FILES and files == sorted(files)
    assert "1 pipes, sockets or devices below" in caplog.text
    assert f"first {recordings / '3' / 'pipe.wav'}" in caplog.text
    assert [record.message for record in caplog.records][-2:] == [
        f"{recordings / '3' / 'broken.wav'}: unreadable: Format not recognised.",
        f"1 of {NUM_FILES + 1} recordings could not be read",
    ]
    assert os.listdir(tmp_path) == ["tags.csv"], "temporary files are left"
    tagger = hf_audio.load(model)
    for name in files[::37]:
        found = {row[4]: float(row[5]) for row in rows if row[0] == name and row[1] == "recording"}
        assert found == pytest.approx(tagger(name, top_k=5).scores, abs=1e-4)
    with pytest.raises(InputError, match=r"tags\.csv already exists"):
        tag.main([str(recordings), "--model", model, "--format", "csv", "--output", str(output)])


def test_a_killed_command_is_resumed(recordings, model, tmp_path, caplog, forks):
    whole, output = tmp_path / "whole.jsonl", tmp_path / "tags.jsonl"
    flags = [str(recordings), "--model", model, "--format", "jsonl", "--num_threads", "1", "--output"]
    tag.main([*flags, str(whole)])
    process = forks.start(COMMAND, "tag", *flags, output, "--batch_size", 1)
    partial = tmp_path / "tags.jsonl.partial"
    process.kill_once(lambda: partial.exists() and partial.read_bytes().count(b"\n") >= 20, timeout_s=120)
    assert process.returncode == -signal.SIGKILL and not output.exists() and partial.exists()
    with open(partial, "ab") as file:
        file.write(b'{"file": "torn')
    num_kept = partial.read_bytes().count(b"\n") - 1
    with pytest.raises(InputError, match=r"The unfinished .*tags.jsonl differs in: threshold was 0.45 and is now 0.9"):
        tag.main([*flags, str(output), "--threshold", "0.9"])
    assert tag.main([*flags, str(output)]) == 1
    assert f"{num_kept} of {NUM_FILES + 1} recordings are already done" in caplog.messages
    assert sorted(os.listdir(tmp_path)) == ["tags.jsonl", "whole.jsonl"]
    for line, wanted in zip(output.read_text().splitlines(), whole.read_text().splitlines(), strict=True):
        found, wanted = json.loads(line), json.loads(wanted)
        assert found["file"] == wanted["file"]
        scores, wanted_scores = ({one["label"]: one["score"] for one in each["scores"]} for each in (found, wanted))
        assert scores == pytest.approx(wanted_scores, abs=1e-4)


def test_a_changed_recording_is_tagged_again(model, tmp_path, monkeypatch):
    paths = [write_sound(tmp_path / f"{name}.wav", 0.7) for name in "ab"]
    output = tmp_path / "tags.jsonl"
    flags = [*map(str, paths), "--model", model, "--format", "jsonl", "--output", str(output)]
    with monkeypatch.context() as context:
        context.setattr("hf_audio.tagging.results.InFile.finish", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            tag.main(flags)
    write_sound(paths[0], 1.9)
    partial = tmp_path / "tags.jsonl.partial"
    kept = partial.read_bytes()
    for damage in (b'{"file": ["x"]}', b'{"file": "x"}', b"[]", b"{"):
        partial.write_bytes(kept + damage + b"\n")
        with pytest.raises(InputError, match=r"is not a list of finished recordings .*: remove it to process all"):
            tag.main(flags)
    partial.write_bytes(kept)
    assert tag.main(flags) == 0
    assert [json.loads(line)["duration_s"] for line in output.read_text().splitlines()] == [1.9, 0.7]


def test_a_result_is_not_resumed_with_another_commit_or_model(model, hub, token, tmp_path, monkeypatch):
    """All are `main`: a result started with one commit is not continued with a later one or another repository."""
    from huggingface_hub import HfApi

    api, output = HfApi(token=token), tmp_path / "tags.jsonl"
    for name in ("alice/tagger", "alice/other"):
        api.create_repo(name)
        api.upload_folder(repo_id=name, folder_path=model)
    first = api.model_info("alice/tagger").sha
    flags = [str(write_sound(tmp_path / "a.wav", 0.7)), "--format", "jsonl", "--output", str(output), "--model"]
    with monkeypatch.context() as context:
        context.setattr("hf_audio.tagging.results.InFile.finish", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            tag.main([*flags, "alice/tagger"])
    api.upload_file(path_or_fileobj=b"{}", path_in_repo="report.json", repo_id="alice/tagger")
    second = api.model_info("alice/tagger").sha
    with pytest.raises(InputError, match=f"model was 'alice/tagger@{first}' and is now 'alice/tagger@{second}'"):
        tag.main([*flags, "alice/tagger"])
    with pytest.raises(InputError, match=f"model was 'alice/tagger@{first}' and is now 'alice/other@"):
        tag.main([*flags, "alice/other"])
    assert tag.main([*flags, "alice/tagger", "--revision", first]) == 0 and output.exists()


@pytest.mark.parametrize("format_name", ["audacity", "srt"])
def test_one_file_per_recording(model, tmp_path, format_name):
    for name in ("x/a.wav", "y/a.wav", "b.flac.wav"):
        write_sound(tmp_path / "recordings" / name, 2.2)
    flags = ["--model", model, "--format", format_name, "--threshold", "0.1"]
    with pytest.raises(InputError, match="--top_k has no effect on --format"):
        tag.main([str(tmp_path), *flags, "--top_k", "3"])
    folder = tmp_path / "out"
    assert tag.main([str(tmp_path / "recordings"), *flags, "--output", str(folder)]) == 0
    written = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    suffix = FORMATS[format_name].suffix
    assert written == [f"b.flac.wav{suffix}", f"x/a.wav{suffix}", f"y/a.wav{suffix}"]
    one = tmp_path / f"one{suffix}"
    assert tag.main([str(tmp_path / "recordings/x/a.wav"), *flags, "--output", str(one)]) == 0
    assert one.read_text() == (folder / f"x/a.wav{suffix}").read_text() != ""
    assert tag.main([str(tmp_path / "recordings/x/a.wav"), *flags, "--output", f"{tmp_path}/new/"]) == 0
    assert os.listdir(tmp_path / "new") == [f"a.wav{suffix}"], "a name that ends in / is a folder"
    with pytest.raises(InputError, match="give a folder as --output"):
        tag.main([str(tmp_path / "recordings"), *flags])
    twice = [str(tmp_path / "recordings" / name / "a.wav") for name in "xy"]
    with pytest.raises(InputError, match=r"would both be written to a\.wav"):
        tag.main([*twice, *flags, "--output", str(tmp_path / "other")])


def test_audio_and_lists_on_stdin(model, tmp_path, monkeypatch, capfdbinary):
    path = write_sound(tmp_path / "a.wav", 1.2)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(path.read_bytes())))
    assert tag.main(["-", "--model", model, "--format", "json"]) == 0
    (piped,) = json.loads(capfdbinary.readouterr().out)
    for separator in (b"\n", b"\0"):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(os.fsencode(path) + separator)))
        assert tag.main(["--files_from", "-", "--model", model, "--format", "json"]) == 0
        (listed,) = json.loads(capfdbinary.readouterr().out)
        assert listed == piped | {"file": str(path)}
    (tmp_path / "list.txt").write_text(f"{path}\n")
    tag.main(["--files_from", str(tmp_path / "list.txt"), "--model", model, "--format", "json"])
    assert json.loads(capfdbinary.readouterr().out) == [listed]


def test_a_file_name_that_is_not_utf8_gives_valid_json(model, tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.wav")
    os.rename(write_sound(tmp_path / "a.wav", 0.6), path)
    output = tmp_path / "tags.jsonl"
    assert tag.main([path, "--model", model, "--format", "jsonl", "--output", str(output)]) == 0
    assert json.loads(output.read_bytes())["file"] == path and r"\udcff.wav" in output.read_text("utf-8")


def test_a_private_hub_model_in_a_new_process(model, hub, token, hub_env, tmp_path):
    """Audio comes through a real pipe; no token in the output; no unnecessary imports."""
    import huggingface_hub

    huggingface_hub.HfApi(token=token).create_repo("alice/tagger", private=True)
    huggingface_hub.HfApi(token=token).upload_folder(repo_id="alice/tagger", folder_path=model)
    audio, output = write_sound(tmp_path / "a.wav", 1.2).read_bytes(), tmp_path / "tags.jsonl"
    flags = ["-", "--model", "alice/tagger", "--format", "jsonl", "--output", str(output), "--top_k", "2"]
    heavy = {"datasets", "sklearn", "pandas", "matplotlib", "librosa", "peft", "evaluate", "scipy", "numba", "timm"}
    if Version(transformers.__version__) < Version("5.21"):
        heavy.remove("librosa")  # transformers imports it, but none of its parts
    script = f"""
import gc, sys
frozen = gc.get_freeze_count()  # 375 in Python 3.12
from hf_audio.commands import tag
collections = []
gc.callbacks.append(lambda phase, info: collections.append(info["generation"]))
tag.main({flags!r})
print({heavy!r} & set(sys.modules), 2 in collections, gc.isenabled(), gc.get_freeze_count() - frozen)
from transformers.loss.loss_for_object_detection import linear_sum_assignment  # it can still be imported on demand
print(*linear_sum_assignment([[0.0, 1.0], [0.0, 2.0]]))
"""
    done = subprocess.run([sys.executable, "-c", script], input=audio, env=hub_env, capture_output=True, timeout=120)
    assert done.returncode == 0 and done.stdout == b"set() False True 0\n[0 1] [1 0]\n", done.stderr
    found = json.loads(output.read_text())
    assert found["file"] == "stdin" and len(found["scores"]) == 2
    assert token.encode() not in done.stdout + done.stderr + output.read_bytes()


def test_quick_imports_keep_frozen_objects_frozen():
    with quick_imports():
        import hf_audio.tagging.formats  # noqa: F401
    assert gc.get_freeze_count() > 100_000, "objects frozen by conftest.py must stay frozen"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["missing.wav"], r"'missing.wav' does not exist"),
        ([], "Give recordings, folders or -"),
        (["-", "a.wav"], "cannot be combined with files"),
        (["--files_from", "none.txt"], "none.txt cannot be read"),
        (["{sound}", "--top_k", "-1"], "--top_k must be a number of labels"),
        (["{sound}", "--num_threads", "0"], "--num_threads must be at least 1"),
        (["{sound}", "--window_s", "100"], "longer than the"),
        (["{sound}", "--output", "no/such/tags.csv"], "The folder no/such for"),
        (["{sound}", "--output", "tags/"], "tags/ names a folder"),
        (["{sound}", "--revision", "v1"], "is a folder, which has no revision 'v1'"),
        (["{empty}"], "contains no recordings"),
    ],
)
def test_bad_commands_are_one_sentence(model, tmp_path, monkeypatch, argv, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    places = {"sound": write_sound(tmp_path / "a.wav", 0.6), "empty": tmp_path / "empty"}
    with pytest.raises(InputError, match=message):
        tag.main([*(one.format(**places) for one in argv), "--model", model])


def test_help_lists_the_commands_quickly(capsys):
    hf_audio_command(["--help"])
    said = capsys.readouterr().out
    assert all(f"  {name} " in said and described in said for name, described in commands().items())
    started = time.process_time()
    script = (
        "import sys; from hf_audio.commands.main import main\ntry: main(['tag', '--help'])\nexcept SystemExit: pass\n"
    )
    heavy = "print([name for name in ('torch', 'numpy', 'transformers', 'datasets') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script + heavy], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]" and "--smooth_s" in done.stdout
    assert time.process_time() - started < 5


def test_an_unknown_command_names_the_nearest(capsys):
    for argv, message in ((["tga"], "did you mean 'tag'"), (["--modle"], "expected a command first")):
        with pytest.raises(SystemExit) as end:
            hf_audio_command(argv)
        assert end.value.code == 2 and message in capsys.readouterr().err


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_recording_without_finite_scores_does_not_stop_the_others(model, tmp_path, format_name, caplog):
    loud, path = tmp_path / "loud.wav", write_sound(tmp_path / "sound.wav", 0.7)
    soundfile.write(loud, np.full(8_000, 1e30, np.float32), 16_000, subtype="FLOAT")
    output = tmp_path / "out"
    output.mkdir()
    flags = ["--model", model, "--format", format_name, "--output", str(output / "tags")]
    assert tag.main([str(loud), str(path), *flags]) == 1
    assert [one for one in caplog.messages if one.startswith(f"{loud}: ") and "not finite" in one]
    written = "".join(one.read_text() for one in output.rglob("*") if one.is_file())
    assert written and "nan" not in written.lower()


def test_output_that_cannot_be_written_is_one_sentence(model, tmp_path, monkeypatch, capfd):
    path, other = (str(write_sound(tmp_path / name, 0.7)) for name in ("a.wav", "b.wav"))
    flags = [path, other, "--model", model, "--format"]
    for format_name, output, sentence in (("csv", str(tmp_path), "is a folder"), ("srt", path, "is a file")):
        with pytest.raises(InputError, match=sentence):
            tag.main([*flags, format_name, "--output", output])
    with open("/dev/full", "w", encoding="utf-8") as full, monkeypatch.context() as context:
        context.setattr(sys, "stdout", full)
        with pytest.raises(SystemExit, match="2"):
            hf_audio_command(["tag", path, "--model", model, "--format", "csv"])
    assert "error: The output cannot be written (No space left on device): free some space" in capfd.readouterr().err
    monkeypatch.setattr(sys, "stdin", None)
    for given in (["-"], ["--files_from", "-"]):
        with pytest.raises(InputError, match="Standard input is closed"):
            tag.main([*given, "--model", model])
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(InputError, match="Standard output is closed"):
        tag.main([path, "--model", model])

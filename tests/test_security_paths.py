"""All that is written or published by a run contains only the last name of a path."""

from __future__ import annotations

import io
import json
import re
import shlex
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Audio, Features, Value
from small_datasets import as_dataset
from training_run import build_tiny_features, tiny_model

import hf_audio
from hf_audio import parse_recipe
from hf_audio.config.reported import reported_command, reported_settings
from hf_audio.data.index.labels import SINGLE_LABEL
from hf_audio.data.loading.features_dataset import load_features
from hf_audio.privacy import public_name, public_value

VALUES = {"output_dir": "runs/x", "corpus": "folder", "window_s": 0.5, "learning_rate": 1e-4}


def everything_in(repo) -> dict[str, bytes]:
    return {path: repo.read(path) for path in repo.paths()}


class TestPaths:
    @pytest.mark.parametrize(
        ("value", "public"),
        [
            ("/home/alice/clients/acme", "acme"),
            ("~/clients/acme", "acme"),
            ("../../alice/acme", "acme"),
            ("runs/../../alice/acme", "acme"),
            (r"C:\Users\alice\acme", "acme"),
            ("cache=/home/alice/acme", "cache=acme"),
            (Path("clients/acme"), "acme"),
            ({"a": [{"/home/alice/k": ("/home/alice/v", 3)}], "b": None}, {"a": [{"k": ["v", 3]}], "b": None}),
            ("MIT/ast", "MIT/ast"),
            ("1/2 and/or more", "1/2 and/or more"),
            (0.5, 0.5),
        ],
    )
    def test_only_the_last_name_of_a_path_is_public(self, value, public):
        assert public_value(value) == public

    def test_a_checkpoint_has_its_hub_name_or_the_last_name_of_its_path(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "runs" / "mine").mkdir(parents=True)
        assert public_name("MIT/ast") == "MIT/ast" and public_name("ast-mini") == "ast-mini"
        for name in ("runs/mine", "./runs/mine", str(tmp_path / "runs/mine"), str(tmp_path / "gone/mine"), "~/mine"):
            assert public_name(name) == "mine"

    def test_a_reported_command_is_made_from_settings_not_from_the_command_line(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "private" / "acme").mkdir(parents=True)
        argv = ["--data-dir=private/acme", "--output_dir", "/home/alice/x", "--model_options", '{"f": "/home/alice/w"}']
        argv += ["--test_groups", "a b", "/srv/c", "--learning_rate", "1e-4", "--hub_model_id", "me/x", "--push_to_hub"]
        argv += ["--class_weights", "balanced", "--weight_decay", "0.5"]
        argv += ["--negatives", "esc50", "--negatives_dir", "../noise"]
        argv += ["--label_overrides", "fixes/mine.csv", "--logging_nan_inf_filter", "false"]
        recipe = parse_recipe(VALUES, argv=argv)
        command = reported_command(recipe, "/home/alice/recipes/cnn_folder.py")
        assert shlex.split(command) == [
            *("accelerate", "launch", "recipes/cnn_folder.py", "--data_dir", "acme", "--label_overrides", "mine.csv"),
            *("--negatives", "esc50", "--negatives_dir", "noise", "--test_groups", "a b", "c"),
            *("--model_options", '{"f": "w"}', "--class_weights", "balanced", "--weight_decay", "0.5"),
        ]
        again = parse_recipe(VALUES, argv=shlex.split(command)[3:])
        assert reported_command(again, "cnn_folder.py") == command
        assert "alice" not in json.dumps(reported_settings(recipe)) and "private" not in json.dumps(
            reported_settings(recipe)
        )

    def test_the_reported_command_of_a_demo_is_one_flag(self):
        recipe = parse_recipe(VALUES, {"corpus": "general_midi", "lora_rank": 2}, argv=["--demo"])
        assert reported_command(recipe, "x;y.py") == "accelerate launch recipes/RECIPE.py --demo"


def named(kind: str, recordings: Path, folder: Path) -> Path:
    """The recordings as a user may name them: a folder, a table or dataset with absolute paths, an audit's table."""
    if kind == "folder":
        return recordings
    if kind == "dataset":
        paths = sorted(recordings.rglob("*.wav"))
        columns = {
            "audio": [{"bytes": path.read_bytes(), "path": str(path)} for path in paths],
            "clip_id": [f"{path.parent.name}/{path.name}" for path in paths],
            "label": [path.parent.name for path in paths],
            "original": [f"cut from '{path}'" for path in paths],
        }
        kinds = Features({"audio": Audio(), **dict.fromkeys(list(columns)[1:], Value("string"))})
        as_dataset(pa.table(columns, kinds.arrow_schema)).save_to_disk(folder / "clients" / "saved")
        return folder / "clients" / "saved"
    table = folder / "clients" / "list.csv"
    if kind == "audited":
        hf_audio.audit_corpus("folder", recordings, folder / "audit", num_workers=1, write_csv=table)
        return table
    table.parent.mkdir()
    rows = ["path,label,original", *(f"{path},{path.parent.name},{path}" for path in sorted(recordings.rglob("*.wav")))]
    table.write_text("\n".join(rows) + "\n")
    return table


@pytest.mark.parametrize("kind", ["folder", "table", "audited", "dataset"])
def test_a_published_run_holds_no_token_and_no_path(named_recordings, hub, tmp_path, monkeypatch, kind):
    """Recordings and a checkpoint are in folders with telling names; a token is in every place that can hold one."""
    data_dir = named(kind, named_recordings, tmp_path)
    monkeypatch.setenv("HF_TOKEN", hub.token("alice"))
    secret_token = hub.token("alice")
    features = load_features(build_tiny_features(tmp_path / "for the base", SINGLE_LABEL))
    tiny_model(features).save_pretrained(tmp_path / "private" / "base")
    features.extractor.save_pretrained(tmp_path / "private" / "base")
    flag = "dataset" if kind == "dataset" else "data_dir"
    argv = [f"--{flag}={data_dir}", "--model", str(tmp_path / "private" / "base"), "--output_dir"]
    argv += [str(tmp_path / "out" / "run"), f"--hub-token={secret_token}", "--push_to_hub", "--num_workers", "1"]
    argv += ["--hub_model_id", "alice/clean", "--hub_dataset_id", "alice/clean-features", "--max_steps", "1"]
    argv += ["--num_mel_bins", "32", "--lora_rank", "2", "--report_to", "tensorboard", "--use_cpu", "true"]
    argv += ["--public_license", "unknown"] if kind == "dataset" else []
    monkeypatch.setattr(sys, "argv", ["/home/alice/recipes/ast_folder.py", *argv])
    hf_audio.run_network(VALUES)

    published = everything_in(hub.repo("models", "alice/clean"))
    published |= {f"data/{k}": v for k, v in everything_in(hub.repo("datasets", "alice/clean-features")).items()}
    assert {"README.md", "report.json", "config.json", "adapter/adapter_config.json", "data/index.parquet"} <= set(
        published
    )
    assert {"scores/clips.parquet", "plots/f1_per_class.png", "data/plots/windows.png"} <= set(published)
    index = pq.read_table(io.BytesIO(published["data/index.parquet"])).to_pylist()
    assert min(row["clip_id"] for row in index) == "bell/0.wav"
    assert len(index) == 24 or (kind == "audited" and len(index) >= 18), "an audit finds copies among these tones"
    tables = {name: pq.read_table(io.BytesIO(published[name])) for name in published if name.endswith(".parquet")}
    shards = {name: table for name, table in tables.items() if name.startswith("data/data/")}
    assert {name for shard in shards.values() for name in shard["clip_id"].to_pylist()} == {
        row["clip_id"] for row in index
    }
    for name, table in tables.items():
        texts = table.drop_columns([column for column in ("features",) if column in table.column_names])
        published[f"{name} in words"] = str([texts.to_pylist(), table.schema]).encode()
    own = (secret_token, str(tmp_path), str(named_recordings), named_recordings.parent.name, "/home/alice")
    assert [(name, word) for name, content in published.items() for word in own if word.encode() in content] == []
    command = f"--{flag} {data_dir.name} --num_workers 1 --num_mel_bins 32 --model base"
    assert command in published["README.md"].decode()
    local = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert "training_args.bin" in {path.name for path in local}
    assert [path for path in local if secret_token.encode() in path.read_bytes()] == []


def test_every_flag_of_a_path_is_declared_as_one():
    """A new setting for a file or folder must be declared as such; otherwise reports would contain its path."""
    from hf_audio.config.reported import FIELDS
    from hf_audio.config.setting import NAMES

    words = ("folder", "csv file")
    suspects = {
        name
        for name, field in FIELDS.items()
        if name.endswith(("_dir", "_file", "_path"))
        or any(
            word
            in re.sub(
                r"folder \(your own|folders? or table|class folders|the run folder's|one subfolder per class|folders:",
                "",
                field.metadata.get("help", "").lower(),
            )
            for word in words
        )
    }
    assert {"data_dir", "label_overrides", "model", "dataset", "network_features"} < suspects
    assert {name for name in suspects if FIELDS[name] not in NAMES} == set()

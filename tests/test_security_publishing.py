"""What leaves: no token, no path of this machine, no file that hf_audio did not write, no words that become markup."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import shutil
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from corpus_trees import irmas_tree, write_sound
from hostile_features import edit_index
from huggingface_hub import DatasetCard, HfApi, ModelCard
from markdown_it import MarkdownIt
from small_features import build_small_features
from training_run import build_tiny_features, tiny_model, trainer_of

import hf_audio
from hf_audio import InputError, parse_recipe
from hf_audio.analysis.evaluation import evaluate_model
from hf_audio.config.reported import reported_command, reported_settings
from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL
from hf_audio.data.loading.features_dataset import load_features
from hf_audio.errors import printable
from hf_audio.markdown import escaped, link, python_literal, web_address
from hf_audio.models.spectrogram_cnn import SpectrogramCNN, SpectrogramCNNConfig
from hf_audio.privacy import public_name, public_value, write_published
from hf_audio.publishing.dataset_card import name_repo, write_dataset_card
from hf_audio.publishing.licences import hub_licences
from hf_audio.publishing.model_card import write_model_card
from hf_audio.publishing.push import push_features, push_model
from hf_audio.publishing.templates import render

TOKEN = "hf_" + "aSecretThatNobodyMayRead" + "0123456789"
VALUES = {"output_dir": "runs/x", "corpus": "folder", "window_s": 0.5, "learning_rate": 1e-4}
MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table")
SECRET = b"machine hub login me password s3cret"


def everything_in(repo) -> dict[str, bytes]:
    return {path: repo.read(path) for path in repo.paths()}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    return build_small_features(tmp_path_factory.mktemp("publishing") / "features")


@pytest.fixture
def features(built, tmp_path) -> Path:
    return shutil.copytree(built, tmp_path / "features")


@pytest.fixture
def model(tmp_path) -> Path:
    """A run folder with a small model of ours and its code."""
    labels = {0: "bell", 1: "tuba"}
    config = SpectrogramCNNConfig(id2label=labels, label2id={name: index for index, name in labels.items()})
    SpectrogramCNN(config).save_pretrained(tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def secret(tmp_path) -> Path:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".netrc").write_bytes(SECRET)
    return tmp_path / "home" / ".netrc"


class TestTokens:
    @pytest.mark.parametrize(
        "spelling", [["--hub_token", TOKEN], ["--hub-token", TOKEN], [f"--hub_token={TOKEN}"], [f"--hub-token={TOKEN}"]]
    )
    def test_a_token_is_kept_apart_however_it_is_typed(self, spelling, monkeypatch):
        recipe = parse_recipe(VALUES, argv=[*spelling, "--window_s", "0.25"])
        assert recipe.token == TOKEN and recipe.training.hub_token is None
        said = [repr(recipe), repr(recipe.training), recipe.training.to_json_string(), str(recipe.chosen)]
        said += [json.dumps(reported_settings(recipe)), reported_command(recipe, "recipes/x.py")]
        assert not [text for text in said if TOKEN in text]

    def test_a_token_in_a_file_of_settings_is_kept_apart_too(self, tmp_path):
        (tmp_path / "mine.yaml").write_text(f"hub_token: {TOKEN}\nwindow_s: 0.25\n")
        recipe = parse_recipe(VALUES, argv=["--config", str(tmp_path / "mine.yaml")])
        assert recipe.token == TOKEN and recipe.training.hub_token is None
        command = reported_command(recipe, "recipes/cnn_folder.py")
        assert command == "accelerate launch recipes/cnn_folder.py --window_s 0.25"

    @pytest.mark.parametrize(
        "content", ["hub_token: %s: x\n", "- {hub_token: %s\n", "hub_token: [%s\n", "? %s : : \x07"]
    )
    def test_a_file_of_settings_that_is_broken_is_not_quoted(self, tmp_path, content):
        (tmp_path / "mine.yaml").write_text(content % TOKEN)
        with pytest.raises(InputError, match=r"--config .*mine\.yaml") as error:
            parse_recipe(VALUES, argv=["--config", str(tmp_path / "mine.yaml")])
        assert "NobodyMayRead" not in str(error.value) and "\n" not in str(error.value)

    def test_a_token_is_a_text(self, tmp_path):
        (tmp_path / "mine.yaml").write_text("hub_token: {a: 1}\n")
        with pytest.raises(InputError, match="A Hub token is a text"):
            parse_recipe(VALUES, argv=["--config", str(tmp_path / "mine.yaml")])

    def test_messages_hide_what_looks_like_a_token(self):
        with pytest.raises(InputError) as error:
            parse_recipe(VALUES, argv=["--push_to_hub", "--window_s", TOKEN])
        assert TOKEN not in str(error.value) and "hf_..." in str(error.value)
        assert printable(f"Bearer {TOKEN}!") == "Bearer hf_...!"

    def test_trainer_never_holds_a_token(self, tmp_path):
        features = load_features(build_tiny_features(tmp_path / "features", SINGLE_LABEL))
        arguments = {"hub_token": TOKEN, "max_steps": 1, "report_to": "tensorboard"}
        trainer = trainer_of(features, tmp_path / "run", arguments=arguments)
        trainer.train_resumable()
        files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
        assert {"training_args.bin", "run.json"} <= {path.name for path in files}
        assert [path.name for path in files if path.name.startswith("events.out")]
        assert not [path for path in files if TOKEN.encode() in path.read_bytes()]

    def test_trainer_publishes_nothing_by_itself(self, tmp_path, tiny_features):
        with pytest.raises(InputError, match=r"publish the finished run with hf_audio\.push_model"):
            trainer_of(tiny_features, tmp_path / "run", arguments={"push_to_hub": True})

    def test_a_file_with_a_token_is_not_written(self, tmp_path, monkeypatch, token):
        for known in (TOKEN, token):
            with pytest.raises(InputError, match="holds a Hugging Face token") as error:
                write_published(tmp_path / "report.json", f'{{"x": "{known}"}}')
            assert known not in str(error.value) and not (tmp_path / "report.json").exists()
        parse_recipe(VALUES, argv=["--hub_token", "an-old-token-of-ours"])
        with pytest.raises(InputError, match="holds a Hugging Face token"):
            write_published(tmp_path / "report.json", "an-old-token-of-ours")

    def test_a_report_with_a_token_is_not_written(self, tmp_path):
        features = load_features(build_tiny_features(tmp_path / "features", SINGLE_LABEL))
        trainer = trainer_of(features, tmp_path / "run")
        with pytest.raises(InputError, match=r"report\.json holds a Hugging Face token"):
            evaluate_model(trainer, features, tmp_path / "run", command=f"recipes/x.py --token={TOKEN}")
        assert not (tmp_path / "run" / "report.json").exists()

    @pytest.mark.parametrize("name", ["README.md", "report.json", "config.json", "scores/clips.parquet"])
    def test_a_file_with_a_token_is_not_pushed(self, hub, token, model, name):
        (model / name).parent.mkdir(exist_ok=True)
        with open(model / name, "a") as file:
            file.write(f"\n{TOKEN if name == 'README.md' else token}\n")
        with pytest.raises(InputError, match=rf"{name} holds a Hugging Face token"):
            push_model(model, "alice/with-token")
        assert ("models", "alice/with-token") not in hub.storage.repos

    def test_a_token_that_is_logged_in_is_known(self, hub, features, tmp_path, monkeypatch):
        monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "logged_in"))
        (tmp_path / "logged_in").write_text(hub.token("alice"))
        edit_index(features, lambda rows: rows[0].update(group=hub.token("alice")))
        with pytest.raises(InputError, match=r"index\.parquet holds a Hugging Face token"):
            push_features(features, "alice/x", token=hub.token("bob"))


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
    def test_of_a_path_only_the_last_name_is_said(self, value, public):
        assert public_value(value) == public

    def test_a_checkpoint_is_named_as_others_know_it(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "runs" / "mine").mkdir(parents=True)
        assert public_name("MIT/ast") == "MIT/ast" and public_name("ast-mini") == "ast-mini"
        for name in ("runs/mine", "./runs/mine", str(tmp_path / "runs/mine"), str(tmp_path / "gone/mine"), "~/mine"):
            assert public_name(name) == "mine"

    def test_a_command_is_made_of_settings_not_of_what_was_typed(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "private" / "acme").mkdir(parents=True)
        argv = ["--data-dir=private/acme", "--output_dir", "/home/alice/x", "--model_options", '{"f": "/home/alice/w"}']
        argv += ["--test_groups", "a b", "/srv/c", "--learning_rate", "1e-4", "--hub_model_id", "me/x", "--push_to_hub"]
        argv += [
            "--class_weights",
            "balanced",
            "--weight_decay",
            "0.5",
            "--negatives",
            "esc50",
            "--negatives_dir",
            "../noise",
        ]
        argv += ["--label_overrides", "fixes/mine.csv", "--logging_nan_inf_filter", "false"]
        recipe = parse_recipe(VALUES, argv=argv)
        command = reported_command(recipe, "/home/alice/recipes/cnn_folder.py")
        assert shlex.split(command) == [
            *("accelerate", "launch", "recipes/cnn_folder.py", "--data_dir", "acme", "--label_overrides", "mine.csv"),
            *("--negatives", "esc50", "--negatives_dir", "noise", "--test_groups", "a b", "c"),
            *("--model_options", '{"f": "w"}', "--weight_decay", "0.5", "--class_weights", "balanced"),
        ]
        again = parse_recipe(VALUES, argv=shlex.split(command)[3:])
        assert reported_command(again, "cnn_folder.py") == command
        assert "alice" not in json.dumps(reported_settings(recipe)) and "private" not in json.dumps(
            reported_settings(recipe)
        )

    def test_demo_and_its_values_are_one_flag(self):
        recipe = parse_recipe(VALUES, {"corpus": "general_midi", "lora_rank": 2}, argv=["--demo"])
        assert reported_command(recipe, "x;y.py") == "accelerate launch recipes/RECIPE.py --demo"


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("alice") / "clients of mine" / "acme"
    for number, name in enumerate(("bell", "flute", "tuba")):
        for recording in range(8):
            write_sound(root / name / f"{recording}.wav", 0.5, recording, [200.0 * 3**number], sample_rate=16_000)
    return root


def named(kind: str, recordings: Path, folder: Path) -> Path:
    """The same recordings as a user may name them: their folder, a table of absolute paths, or what an audit wrote."""
    if kind == "folder":
        return recordings
    table = folder / "clients" / "list.csv"
    if kind == "audited":
        hf_audio.audit_corpus("folder", recordings, folder / "audit", num_workers=1, write_csv=table)
        return table
    table.parent.mkdir()
    rows = ["path,label,original", *(f"{path},{path.parent.name},{path}" for path in sorted(recordings.rglob("*.wav")))]
    table.write_text("\n".join(rows) + "\n")
    return table


@pytest.mark.parametrize("kind", ["folder", "table", "audited"])
def test_a_published_run_holds_no_token_and_no_path(recordings, hub, tmp_path, monkeypatch, kind):
    """From recordings and a checkpoint in folders with names of their own, tokens in every place one can give them."""
    data_dir = named(kind, recordings, tmp_path)
    monkeypatch.setenv("HF_TOKEN", hub.token("alice"))
    secret_token = hub.token("alice")
    features = load_features(build_tiny_features(tmp_path / "for the base", SINGLE_LABEL))
    tiny_model(features).save_pretrained(tmp_path / "private" / "base")
    features.extractor.save_pretrained(tmp_path / "private" / "base")
    argv = [f"--data_dir={data_dir}", "--model", str(tmp_path / "private" / "base"), "--output_dir"]
    argv += [str(tmp_path / "out" / "run"), f"--hub-token={secret_token}", "--push_to_hub", "--num_workers", "1"]
    argv += ["--hub_model_id", "alice/clean", "--hub_dataset_id", "alice/clean-features", "--max_steps", "1"]
    argv += ["--num_mel_bins", "32", "--lora_rank", "2", "--report_to", "tensorboard", "--use_cpu", "true"]
    monkeypatch.setattr(sys, "argv", ["/home/alice/recipes/ast_folder.py", *argv])
    hf_audio.run_network(VALUES)

    published = everything_in(hub.repo("models", "alice/clean"))
    published |= {f"data/{k}": v for k, v in everything_in(hub.repo("datasets", "alice/clean-features")).items()}
    assert {"README.md", "report.json", "config.json", "adapter/adapter_config.json", "data/index.parquet"} <= set(
        published
    )
    assert {"scores/clips.parquet", "plots/f1_per_class.png", "data/pictures/windows.png"} <= set(published)
    index = pq.read_table(io.BytesIO(published["data/index.parquet"])).to_pylist()
    assert min(row["clip_id"] for row in index) == "bell/0.wav"
    assert len(index) == 24 or (kind == "audited" and len(index) >= 18), "an audit takes some of these tones for copies"
    tables = {name: pq.read_table(io.BytesIO(published[name])) for name in published if name.endswith(".parquet")}
    shards = {name: table for name, table in tables.items() if name.startswith("data/data/")}
    assert {name for shard in shards.values() for name in shard["clip_id"].to_pylist()} == {
        row["clip_id"] for row in index
    }
    for name, table in tables.items():
        texts = table.drop_columns([column for column in ("features",) if column in table.column_names])
        published[f"{name} in words"] = str([texts.to_pylist(), table.schema]).encode()
    own = (secret_token, str(tmp_path), str(recordings), recordings.parent.name, "/home/alice")
    assert [(name, word) for name, content in published.items() for word in own if word.encode() in content] == []
    assert (
        f"--data_dir {data_dir.name} --num_workers 1 --num_mel_bins 32 --model base" in published["README.md"].decode()
    )
    local = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert "training_args.bin" in {path.name for path in local}
    assert [path for path in local if secret_token.encode() in path.read_bytes()] == []


class TestContents:
    STRAY = (".env", ".netrc", ".ssh/id_rsa", "wandb/run.log", "notes.txt", "take 1.wav", "other run/model.safetensors")

    def put(self, folder: Path, *names: str) -> None:
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(SECRET)

    def test_of_a_feature_folder_only_what_was_built_is_pushed(self, hub, token, features, caplog):
        stray = (*self.STRAY, "data/notes.csv", "data/train-00007-of-00009.parquet", "pictures/me.png", "closed/a.csv")
        self.put(features, *stray, "closed/manifest.json", "closed/data/train-00000-of-00001.parquet")
        push_features(features, "alice/tidy")
        published = everything_in(hub.repo("datasets", "alice/tidy"))
        assert sorted(published) == [
            *("README.md", "data/test-00000-of-00001.parquet", "data/train-00000-of-00001.parquet"),
            *("data/validation-00000-of-00001.parquet", "excluded.csv", "index.parquet", "manifest.json"),
            *("pictures/class_distribution.png", "pictures/windows.png", "preprocessor_config.json"),
        ]
        assert SECRET not in b"".join(published.values())
        (line,) = [record.getMessage() for record in caplog.records if "Not published" in record.getMessage()]
        assert ".env, .netrc, .ssh/, closed/" in line and "\n" not in line and "data/notes.csv" in line

    def test_of_a_run_folder_only_the_model_is_pushed(self, hub, token, model, caplog):
        self.put(model, *self.STRAY, "plots/me.png", "adapter/key.pem", "network/a.json", "mine.py", "features/a.csv")
        self.put(model, "checkpoints/checkpoint-1/model.safetensors", "training_args.bin", "optimizer.pt")
        push_model(model, "alice/tidy-run")
        published = everything_in(hub.repo("models", "alice/tidy-run"))
        code = {"spectrogram_cnn.py", "classifier.py", "heads.py"}
        assert code < set(published) and SECRET not in b"".join(published.values())
        others = {name for name in published if not name.endswith(".py")}
        assert others == {"config.json", "model.safetensors"}
        (line,) = [record.getMessage() for record in caplog.records if "Not published" in record.getMessage()]
        assert "mine.py" in line and "wandb/" in line and "checkpoints" not in line and "features" not in line

    def test_names_that_stay_are_printed_without_control_characters(self, token, model, caplog):
        self.put(model, "a\x1b[2Jb\nc")
        push_model(model, "alice/strange")
        assert r"a\x1b[2Jb\nc" in caplog.text

    @pytest.mark.parametrize(
        "name", ["excluded.csv", "index.parquet", "manifest.json", "README.md", "pictures/windows.png"]
    )
    def test_a_link_is_not_followed(self, hub, token, features, secret, name):
        write_dataset_card(features)
        content = (features / name).read_bytes()
        (features / name).unlink()
        if name in ("manifest.json", "README.md"):  # what is read before it is pushed, too
            (secret.parent / "target").write_bytes(content)
            secret = secret.parent / "target"
        (features / name).symlink_to(secret)
        with pytest.raises(InputError, match=rf"{name} is a link, or lies in a folder that is one"):
            push_features(features, "alice/links")
        assert ("datasets", "alice/links") not in hub.storage.repos

    @pytest.mark.parametrize("below", ["data", "pictures"])
    def test_a_folder_that_is_a_link_is_not_followed(self, hub, token, features, tmp_path, below):
        write_dataset_card(features)
        shutil.move(features / below, tmp_path / "elsewhere")
        (features / below).symlink_to(tmp_path / "elsewhere")
        with pytest.raises(InputError, match="lies in a folder that is one"):
            push_features(features, "alice/links")
        assert ("datasets", "alice/links") not in hub.storage.repos

    def test_pictures_are_not_written_through_a_link(self, token, features, tmp_path):
        (tmp_path / "elsewhere").mkdir()
        (features / "pictures").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(InputError, match="pictures is a link"):
            push_features(features, "alice/links")
        assert not list((tmp_path / "elsewhere").iterdir())

    def test_a_second_name_of_a_file_elsewhere_is_refused(self, hub, token, features, secret):
        (features / "excluded.csv").unlink()
        os.link(secret, features / "excluded.csv")
        with pytest.raises(InputError, match="also a file elsewhere"):
            push_features(features, "alice/links")

    def test_a_pipe_and_a_folder_in_place_of_a_file_are_refused(self, hub, token, model):
        os.mkfifo(model / "report.json")
        with pytest.raises(InputError, match="not a regular file"):
            push_model(model, "alice/pipe")
        (model / "report.json").unlink()
        (model / "report.json").mkdir()
        with pytest.raises(InputError, match="cannot be read: Is a directory"):
            push_model(model, "alice/pipe")

    def test_a_linked_model_and_sub_folder_are_refused(self, hub, token, model, secret):
        (model / "plots").symlink_to(secret.parent)
        (secret.parent / "confusion.png").write_bytes(SECRET)
        with pytest.raises(InputError, match="lies in a folder that is one"):
            push_model(model, "alice/links")
        (model / "plots").unlink()
        (model / "model.safetensors.index.json").symlink_to(secret)
        with pytest.raises(InputError, match="is a link"):
            push_model(model, "alice/links")
        assert ("models", "alice/links") not in hub.storage.repos

    def test_the_folder_itself_may_be_a_link(self, hub, token, model, tmp_path):
        (tmp_path / "latest").symlink_to(model)
        push_model(tmp_path / "latest", "alice/by-link")
        assert "config.json" in hub.repo("models", "alice/by-link").paths()

    def test_what_was_looked_at_is_what_is_sent(self, hub, token, features, secret, monkeypatch):
        """Between the look and the upload, links take the files' places."""
        original, expected = HfApi.create_commit, (features / "index.parquet").read_bytes()

        def create_commit(api, *args, **options):
            for name in ("index.parquet", "data/train-00000-of-00001.parquet"):
                (features / name).unlink()
                (features / name).symlink_to(secret)
            return original(api, *args, **options)

        monkeypatch.setattr(HfApi, "create_commit", create_commit)
        push_features(features, "alice/race")
        repo = hub.repo("datasets", "alice/race")
        assert repo.read("index.parquet") == expected
        assert SECRET not in b"".join(everything_in(repo).values())

    def test_code_that_is_not_ours_is_refused(self, hub, token, model):
        (model / "spectrogram_cnn.py").write_text("import os\nos.system('id')\n")
        with pytest.raises(InputError, match=r"spectrogram_cnn\.py of this hf_audio"):
            push_model(model, "alice/code")
        assert ("models", "alice/code") not in hub.storage.repos

    @pytest.mark.parametrize(
        "named", ["evil/x--modeling.Model", "modeling.Model", ["heads.Head", "../x.Model"], "x", 3]
    )
    @pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json"])
    def test_a_config_that_names_code_of_others_is_refused(self, hub, token, model, file, named):
        config = json.loads((model / file).read_text()) if (model / file).exists() else {}
        (model / file).write_text(json.dumps(config | {"auto_map": {"AutoModelForAudioClassification": named}}))
        (model / "modeling.py").write_text("print('not of hf_audio')\n")
        with pytest.raises(InputError, match=rf"{file} leads those who load the model to what is not hf_audio's"):
            push_model(model, "alice/code")
        (model / file).write_text(json.dumps(config | {"backbone": [{"deep": {"auto_map": {"AutoModel": named}}}]}))
        with pytest.raises(InputError, match=rf"{file} leads those"):
            push_model(model, "alice/code")
        (model / file).write_text(json.dumps(config | {"backbone": {"_attn_implementation": "evil/kernels"}}))
        with pytest.raises(InputError, match="_attn_implementation 'evil/kernels'"):
            push_model(model, "alice/code")
        assert ("models", "alice/code") not in hub.storage.repos

    def test_a_model_that_was_trained_from_a_published_one_names_its_own_code(self, hub, token, model, tmp_path):
        push_model(model, "alice/first")
        SpectrogramCNN.from_pretrained("alice/first").save_pretrained(tmp_path / "second")
        push_model(tmp_path / "second", "alice/second")
        assert b"--" not in hub.repo("models", "alice/second").read("config.json")

    @pytest.mark.parametrize("count", [0, 10**12, "1", None, True])
    def test_a_manifest_that_counts_wrongly_is_refused(self, token, features, count):
        manifest = json.loads((features / "manifest.json").read_text())
        manifest["splits"]["train"]["num_shards"] = count
        (features / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(InputError, match=r"splits\.train\.num_shards is .*, expected a whole number"):
            push_features(features, "alice/x")

    def test_a_split_that_leads_elsewhere_is_refused(self, token, features):
        manifest = json.loads((features / "manifest.json").read_text())
        manifest["splits"]["../../train"] = manifest["splits"].pop("train")
        (features / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(InputError, match=r"splits is .*, expected some of train, validation, test"):
            push_features(features, "alice/x")


@pytest.fixture(scope="module")
def mixed(recordings, tmp_path_factory) -> dict[str, object]:
    """Settings of recordings of one's own with negatives that must not be redistributed."""
    irmas = irmas_tree(tmp_path_factory.mktemp("irmas"), duration_s=0.5)
    return {
        **{"data_dir": str(recordings), "negatives": "irmas", "negatives_dir": str(irmas)},
        **{"several_labels": True, "num_workers": 1},
    }


class TestLicences:
    def test_negatives_keep_their_licence(self, mixed, hub, token, tmp_path):
        folder = hf_audio.build_corpus_features(
            hf_audio.DataConfig(**mixed), tmp_path / "features", hf_audio.FeatureConfig(window_s=0.5, num_mel_bins=32)
        )
        corpus = json.loads((folder / "manifest.json").read_text())["corpus"]
        assert corpus["licence"] == "unknown"
        assert [(one["licence"], one["may_redistribute"]) for one in corpus["others"]] == [("CC BY-NC-SA 3.0", False)]
        for named in (None, "unknown", ["unknown", "MIT"]):
            with pytest.raises(InputError, match=r"would be public, but IRMAS is under 'CC BY-NC-SA 3\.0'"):
                push_features(folder, "alice/mixed", public_licence=named)
        assert ("datasets", "alice/mixed") not in hub.storage.repos
        push_features(folder, "alice/mixed", public_licence=["CC BY-NC-SA 3.0", "unknown"])
        card = DatasetCard(hub.repo("datasets", "alice/mixed").read("README.md").decode())
        assert (card.data.license, card.data.license_name) == ("other", "unknown-and-cc-by-nc-sa-3.0")
        assert "The recordings of IRMAS are under CC BY-NC-SA 3.0, which does not let everyone" in card.text
        assert "Bosch" in card.text, "its authors are cited"

    def test_negatives_are_asked_for_before_any_work_is_done(self, mixed, hub, token, tmp_path):
        argv = ["--output_dir", str(tmp_path / "run"), "--push_to_hub", "--public_licence", "unknown"]
        recipe = parse_recipe({**VALUES, **mixed, "hub_model_id": "alice/m"}, argv=argv)
        with pytest.raises(InputError, match="IRMAS is under"):
            hf_audio.prepare_features(recipe)
        assert not (tmp_path / "run").exists() and ("models", "alice/m") not in hub.storage.repos

    def test_several_licences_can_be_named(self):
        recipe = parse_recipe(VALUES, argv=["--push_to_hub", "--public_licence", "CC BY 4.0", "CC BY-NC-SA 3.0"])
        assert recipe.hub.public_licence == ["CC BY 4.0", "CC BY-NC-SA 3.0"]

    def test_what_a_manifest_does_not_allow_in_so_many_words_is_forbidden(self, hub, token, features):
        manifest = json.loads((features / "manifest.json").read_text())
        manifest["corpus"]["may_redistribute"] = "no"
        (features / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(InputError, match=r"corpus\.may_redistribute is 'no'"):
            push_features(features, "alice/x")

    def test_a_card_names_one_licence_or_all(self):
        one, two = {"licence": "MIT"}, {"licence": "Their own\n---\nlicense: mit", "homepage": "javascript:x"}
        assert hub_licences([one, dict(one)]) == {"license": "mit"}
        assert hub_licences([two]) == {"license": "other", "license_name": "their-own-license-mit"}


HOSTILE = (
    "<script>alert(1)</script>",
    "![x](http://evil/pixel.png)",
    "[click](javascript:alert(1))",
    "a | b | c",
    "x\n\n# Heading\n\n- item",
    "x\n---\nlicense: mit\n---\n",
    "```\nimport os\n```",
    "`code` **bold** _it_ ~~s~~ $$x$$",
    "<img src=x onerror=alert(1)>&lt;b&gt;",
    "a\u202egnp.exe\x1b[2J\u2028b",
    '"); import os; os.system("id") #',
    "1. one",
    "# one",
    "- one",
    "> one",
    "---",
    "===",
    "[ref]: http://evil",
)
ALLOWED = {"paragraph_open", "paragraph_close", "inline"}


class TestCards:
    @pytest.mark.parametrize("text", HOSTILE)
    def test_words_stay_words_wherever_they_stand(self, text):
        """By a CommonMark parser with tables: alone on a line, in a cell, as the text of a link."""
        alone = MARKDOWN.parse(f"{escaped(text)}\n")
        assert {token.type for token in alone} == ALLOWED
        assert {child.type for child in alone[1].children} <= {"text", "text_special"}
        shown = "".join(child.content for child in alone[1].children)
        assert shown == printable(" ".join(text.split())), "and nothing of them is lost"
        row = MARKDOWN.parse(f"| a | b |\n|---|---|\n| {escaped(text)} | 2 |\n")
        assert [token.type for token in row].count("td_open") == 2
        assert not [
            child for token in row for child in token.children or () if child.type.startswith(("html", "im", "li"))
        ]
        (linked,) = [token for token in MARKDOWN.parse(f"see {link(text, 'https://e.org/a b)c')}") if token.children]
        assert [child.attrs["href"] for child in linked.children if child.type == "link_open"] == [
            "https://e.org/a%20b%29c"
        ]

    @pytest.mark.parametrize("text", HOSTILE)
    def test_words_in_code_are_one_literal(self, text):
        literal = python_literal(text)
        assert eval(literal) == text and literal.isprintable() and "`" not in literal

    @pytest.mark.parametrize(
        "address", ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "//x", "", None, 3]
    )
    def test_only_addresses_of_the_web_become_links(self, address):
        assert web_address(address) is None and link("x", address) == "x"

    def test_no_template_lets_a_value_through(self):
        """Whatever a template prints of its values is escaped, without its asking for it."""
        for template in ("dataset_card.md", "model_card.md", "network_usage.md", "pretraining_card.md"):
            text = (Path(hf_audio.__file__).parent / "publishing" / template).read_text()
            assert "| safe" not in text and "tojson" not in text
        corpus = {"name": "<b>", "homepage": None, "licence": "`", "citation": "<i>", "may_redistribute": True}
        shown = render(
            "pretraining_card.md",
            **{"card_data": "", "name": "<h1>", "model_id": 'a"b', "corpus": corpus, "sources": [corpus]},
            **{"train": {"num_windows": 1, "num_clips": 1}, "num_parameters": 1, "objective": "<u>", "trust": ""},
        )
        assert "<" not in shown.replace("\\<", "") and 'from_pretrained("a\\"b")' in shown

    @pytest.fixture
    def hostile_features(self, features) -> Path:
        """A dataset whose corpus and classes have names of an attacker's."""
        manifest = json.loads((features / "manifest.json").read_text())
        renamed = dict(zip(manifest["label_names"], (HOSTILE[1], HOSTILE[5], HOSTILE[0]), strict=True))
        manifest["label_names"] = list(renamed.values())
        for facts in manifest["splits"].values():
            facts["label_counts"] = {renamed[name]: count for name, count in facts["label_counts"].items()}
        manifest["corpus"] |= {
            "name": HOSTILE[5],
            "citation": HOSTILE[4],
            "protocol": HOSTILE[8],
            "licence": HOSTILE[6],
        }
        manifest["corpus"]["homepage"] = "javascript:alert(1)"
        (features / "manifest.json").write_text(json.dumps(manifest))
        return features

    def test_the_card_of_a_hostile_dataset_is_plain(self, hostile_features):
        card = DatasetCard.load(write_dataset_card(hostile_features, "alice/tones"))
        assert card.data.license == "other" and "javascript" not in str(card.data.to_dict())
        tokens = MARKDOWN.parse(card.text)
        inline = [child for token in tokens for child in token.children or ()]
        assert not [token for token in [*tokens, *inline] if token.type.startswith("html")]
        assert {child.attrs["src"] for child in inline if child.type == "image"} == {
            "pictures/class_distribution.png",
            "pictures/windows.png",
        }
        assert not [child.attrs["href"] for child in inline if child.type == "link_open"]
        headings = [tokens[place + 1].content for place, token in enumerate(tokens) if token.type == "heading_open"]
        assert len(headings) == 6 and "Heading" not in headings
        assert [token.info for token in tokens if token.type == "fence"] == ["", "python"]

    def test_the_card_of_a_hostile_report_is_plain(self, tmp_path):
        features = load_features(build_tiny_features(tmp_path / "features", MULTI_LABEL))
        trainer = trainer_of(features, tmp_path / "run", arguments={"max_steps": 1})
        trainer.train_resumable()
        report = evaluate_model(trainer, features, tmp_path / "run", command="recipes/x.py\n```\n<b>")
        names = dict(zip(report["task"]["labels"], (HOSTILE[0], HOSTILE[3], HOSTILE[6]), strict=True))
        report["task"]["labels"] = list(names.values())
        split = report["results"]["model"]["test"]
        split["per_class"] = {names[name]: one for name, one in split["per_class"].items()}
        report["data"]["corpus"] |= {"name": HOSTILE[2], "homepage": HOSTILE[2], "citation": HOSTILE[4]}
        report["data"]["extractor"]["sampling_rate"] = 16_000
        report["notes"], report["model"]["base_model"] = [HOSTILE[8]], "<b>/](javascript:x)"
        card = ModelCard.load(write_model_card(tmp_path / "run", report, repo_id="alice/x", licence="mit\nx: y"))
        assert card.data.base_model is None and card.data.license == "mit x: y" and "x" not in card.data.to_dict()
        tokens = MARKDOWN.parse(card.text)
        inline = [child for token in tokens for child in token.children or ()]
        assert {token.content.strip() for token in tokens if token.type == "html_block"} == {
            "<details><summary>Scores of each class</summary>",
            "</details>",
        }
        assert not [child for child in inline if child.type.startswith("html")]
        assert {child.attrs["href"] for child in inline if child.type == "link_open"} == {"report.json"}
        assert [token.info for token in tokens if token.type == "fence"] == ["", "python", "python", ""]

    @pytest.mark.parametrize("name", [r"\g<0>", "a/b/c", 'x", trust_remote_code=True, y="', "../x", "a\nb", ""])
    def test_names_that_no_repository_can_have_are_refused(self, features, tmp_path, name):
        write_dataset_card(features)
        for write in (
            lambda: write_dataset_card(features, name),
            lambda: name_repo(features, name),
            lambda: write_model_card(tmp_path, {}, repo_id=name),
            lambda: write_model_card(tmp_path, {}, dataset_id=name),
        ):
            with pytest.raises(InputError, match="cannot be the name of a repository"):
                write()

    def test_a_folder_with_quotes_in_its_name_is_named_anew(self, built, tmp_path):
        folder = shutil.copytree(built, tmp_path / 'a"b`c')
        write_dataset_card(folder)
        name_repo(folder, "alice/tones")
        text = (folder / "README.md").read_text()
        assert 'load_dataset("alice/tones", split="train")' in text and "x60" not in text and 'a"b' not in text


class TestFilesOfSettings:
    def read(self, tmp_path, content: str):
        (tmp_path / "mine.yaml").write_text(content)
        return parse_recipe(VALUES, argv=["--config", str(tmp_path / "mine.yaml")])

    def test_a_few_lines_do_not_become_gigabytes(self, tmp_path):
        laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        for level in range(1, 10):
            laughs += f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n"
        with pytest.raises(InputError, match="has an alias"):
            self.read(tmp_path, f"{laughs}test_groups: *a9\n")
        with pytest.raises(InputError, match="has an alias"):
            self.read(tmp_path, "model_options: &m {x: *m}\n")  # which would hold itself

    def test_depth_size_and_kind_are_limited(self, tmp_path):
        with pytest.raises(InputError, match="nested more than"):
            self.read(tmp_path, "model_options: " + "[" * 5000)
        with pytest.raises(InputError, match="has at most"):
            self.read(tmp_path, "# " + "x" * (1 << 20))
        with pytest.raises(InputError, match="has a date or number that is none"):
            self.read(tmp_path, "fold: 2001-99-99\n")
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(InputError, match="not a regular file"):
            parse_recipe(VALUES, argv=["--config", str(tmp_path / "pipe")])

    def test_no_object_is_made_of_a_tag(self, tmp_path):
        with pytest.raises(InputError, match="could not determine a constructor"):
            self.read(tmp_path, "fold: !!python/object/apply:os.system [id]\n")

    def test_what_is_plain_is_read(self, tmp_path):
        content = {"model_options": {"a": {"b": [1, {"c": 2}]}}, "test_groups": ["x", "y"], "class_weights": "balanced"}
        recipe = self.read(tmp_path, yaml.safe_dump(content))
        assert recipe.model.model_options == content["model_options"] and recipe.data.test_groups == ["x", "y"]


def test_every_flag_of_a_path_is_known_as_one():
    """A new setting that names a file or folder has to say so, or reports would tell where it lies."""
    from hf_audio.config.reported import FIELDS
    from hf_audio.config.setting import NAMES

    words = ("folder", "csv with")
    suspects = {
        name
        for name, field in FIELDS.items()
        if name.endswith(("_dir", "_file", "_path"))
        or any(
            word in re.sub("corpus=folder|class folders|folders or table", "", field.metadata.get("help", "").lower())
            for word in words
        )
    }
    assert {"data_dir", "label_overrides", "model", "dataset", "network_features"} < suspects
    assert {name for name in suspects if FIELDS[name] not in NAMES} == set()

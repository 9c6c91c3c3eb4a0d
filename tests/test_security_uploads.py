"""Only files that hf_audio wrote are uploaded from a folder: no stray file, no link, no foreign code."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from hf_audio import InputError
from hf_audio.models.spectrogram_cnn import SpectrogramCNN
from hf_audio.publishing.dataset_card import write_dataset_card
from hf_audio.publishing.push import push_features, push_model

SECRET = b"machine hub login me password s3cret"


def everything_in(repo) -> dict[str, bytes]:
    return {path: repo.read(path) for path in repo.paths()}


@pytest.fixture
def features(small_features, tmp_path) -> Path:
    return shutil.copytree(small_features, tmp_path / "features")


@pytest.fixture
def secret(tmp_path) -> Path:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".netrc").write_bytes(SECRET)
    return tmp_path / "home" / ".netrc"


class TestContents:
    STRAY = (".env", ".netrc", ".ssh/id_rsa", "wandb/run.log", "notes.txt", "take 1.wav", "other run/model.safetensors")

    def put(self, folder: Path, *names: str) -> None:
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(SECRET)

    def test_only_built_files_of_a_feature_folder_are_pushed(self, hub, token, features, caplog):
        stray = (*self.STRAY, "data/notes.csv", "data/train-00007-of-00009.parquet", "plots/me.png", "closed/a.csv")
        self.put(features, *stray, "closed/manifest.json", "closed/data/train-00000-of-00001.parquet")
        push_features(features, "alice/tidy")
        published = everything_in(hub.repo("datasets", "alice/tidy"))
        assert sorted(published) == [
            *("README.md", "data/test-00000-of-00001.parquet", "data/train-00000-of-00001.parquet"),
            *("data/validation-00000-of-00001.parquet", "excluded.csv", "index.parquet", "manifest.json"),
            *("plots/class_distribution.png", "plots/windows.png", "preprocessor_config.json"),
        ]
        assert SECRET not in b"".join(published.values())
        (line,) = [record.getMessage() for record in caplog.records if "Not published" in record.getMessage()]
        assert ".env, .netrc, .ssh/, closed/" in line and "\n" not in line and "data/notes.csv" in line

    def test_only_the_model_of_a_run_folder_is_pushed(self, hub, token, small_run, caplog):
        ours = ("plots/me.png", "adapter/key.pem", "network/a.json", "mine.py", "features/a.csv")
        self.put(small_run, *self.STRAY, *ours)
        self.put(small_run, "checkpoints/checkpoint-1/model.safetensors", "training_args.bin", "optimizer.pt")
        push_model(small_run, "alice/tidy-run")
        published = everything_in(hub.repo("models", "alice/tidy-run"))
        code = {"spectrogram_cnn.py", "classifier.py", "heads.py"}
        assert code < set(published) and SECRET not in b"".join(published.values())
        others = {name for name in published if not name.endswith(".py")}
        assert others == {"config.json", "model.safetensors"}
        (line,) = [record.getMessage() for record in caplog.records if "Not published" in record.getMessage()]
        assert "mine.py" in line and not any(name in line for name in ("wandb", "checkpoints", "features"))

    def test_names_of_skipped_files_are_printed_without_control_characters(self, token, small_run, caplog):
        self.put(small_run, "a\x1b[2Jb\nc")
        push_model(small_run, "alice/strange")
        assert r"a\x1b[2Jb\nc" in caplog.text

    @pytest.mark.parametrize(
        "name", ["excluded.csv", "index.parquet", "manifest.json", "README.md", "plots/windows.png"]
    )
    def test_a_link_is_not_followed(self, hub, token, features, secret, name):
        write_dataset_card(features)
        content = (features / name).read_bytes()
        (features / name).unlink()
        if name in ("manifest.json", "README.md"):  # these are also read before the push
            (secret.parent / "target").write_bytes(content)
            secret = secret.parent / "target"
        (features / name).symlink_to(secret)
        with pytest.raises(InputError, match=rf"{name} is a link, or is in a linked folder"):
            push_features(features, "alice/links")
        assert ("datasets", "alice/links") not in hub.storage.repos

    @pytest.mark.parametrize("below", ["data", "plots"])
    def test_a_folder_that_is_a_link_is_not_followed(self, hub, token, features, tmp_path, below):
        write_dataset_card(features)
        shutil.move(features / below, tmp_path / "elsewhere")
        (features / below).symlink_to(tmp_path / "elsewhere")
        with pytest.raises(InputError, match="is in a linked folder"):
            push_features(features, "alice/links")
        assert ("datasets", "alice/links") not in hub.storage.repos

    def test_plots_are_not_written_through_a_link(self, token, features, tmp_path):
        (tmp_path / "elsewhere").mkdir()
        (features / "plots").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(InputError, match="plots is a link"):
            push_features(features, "alice/links")
        assert not list((tmp_path / "elsewhere").iterdir())

    def test_a_hard_link_is_refused(self, hub, token, features, secret):
        (features / "excluded.csv").unlink()
        os.link(secret, features / "excluded.csv")
        with pytest.raises(InputError, match="is a hard link"):
            push_features(features, "alice/links")

    def test_a_pipe_and_a_folder_in_place_of_a_file_are_refused(self, hub, token, small_run):
        os.mkfifo(small_run / "report.json")
        with pytest.raises(InputError, match="not a regular file"):
            push_model(small_run, "alice/pipe")
        (small_run / "report.json").unlink()
        (small_run / "report.json").mkdir()
        with pytest.raises(InputError, match="cannot be read: Is a directory"):
            push_model(small_run, "alice/pipe")

    def test_a_linked_model_and_sub_folder_are_refused(self, hub, token, small_run, secret):
        (small_run / "plots").symlink_to(secret.parent)
        (secret.parent / "confusion.png").write_bytes(SECRET)
        with pytest.raises(InputError, match="is in a linked folder"):
            push_model(small_run, "alice/links")
        (small_run / "plots").unlink()
        (small_run / "model.safetensors.index.json").symlink_to(secret)
        with pytest.raises(InputError, match="is a link"):
            push_model(small_run, "alice/links")
        assert ("models", "alice/links") not in hub.storage.repos

    def test_the_folder_itself_may_be_a_link(self, hub, token, small_run, tmp_path):
        (tmp_path / "latest").symlink_to(small_run)
        push_model(tmp_path / "latest", "alice/by-link")
        assert "config.json" in hub.repo("models", "alice/by-link").paths()

    def test_the_checked_files_are_the_ones_sent(self, hub, token, features, secret, monkeypatch):
        """Links replace the files between the check and the upload."""
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

    def test_changed_code_is_refused(self, hub, token, small_run):
        (small_run / "spectrogram_cnn.py").write_text("import os\nos.system('id')\n")
        with pytest.raises(InputError, match=r"spectrogram_cnn\.py of this version of hf_audio"):
            push_model(small_run, "alice/code")
        assert ("models", "alice/code") not in hub.storage.repos

    @pytest.mark.parametrize(
        "named", ["evil/x--modeling.Model", "modeling.Model", ["heads.Head", "../x.Model"], "x", 3]
    )
    @pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json"])
    def test_a_config_that_names_foreign_code_is_refused(self, hub, token, small_run, file, named):
        config = json.loads((small_run / file).read_text()) if (small_run / file).exists() else {}
        (small_run / file).write_text(json.dumps(config | {"auto_map": {"AutoModelForAudioClassification": named}}))
        (small_run / "modeling.py").write_text("print('not of hf_audio')\n")
        with pytest.raises(InputError, match=rf"{file} would make anyone who loads it run or load files"):
            push_model(small_run, "alice/code")
        (small_run / file).write_text(json.dumps(config | {"backbone": [{"deep": {"auto_map": {"AutoModel": named}}}]}))
        with pytest.raises(InputError, match=rf"{file} would make anyone"):
            push_model(small_run, "alice/code")
        (small_run / file).write_text(json.dumps(config | {"backbone": {"_attn_implementation": "evil/kernels"}}))
        with pytest.raises(InputError, match="_attn_implementation 'evil/kernels'"):
            push_model(small_run, "alice/code")
        assert ("models", "alice/code") not in hub.storage.repos

    def test_a_model_trained_from_a_published_one_names_its_own_code(self, hub, token, small_run, tmp_path):
        push_model(small_run, "alice/first")
        SpectrogramCNN.from_pretrained("alice/first").save_pretrained(tmp_path / "second")
        push_model(tmp_path / "second", "alice/second")
        assert b"--" not in hub.repo("models", "alice/second").read("config.json")

    @pytest.mark.parametrize("count", [0, 10**12, "1", None, True])
    def test_a_manifest_with_an_invalid_count_is_refused(self, token, features, count):
        manifest = json.loads((features / "manifest.json").read_text())
        manifest["splits"]["train"]["num_shards"] = count
        (features / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(InputError, match=r"splits\.train\.num_shards is .*, expected a whole number"):
            push_features(features, "alice/x")

    def test_a_split_name_that_is_a_path_is_refused(self, token, features):
        manifest = json.loads((features / "manifest.json").read_text())
        manifest["splits"]["../../train"] = manifest["splits"].pop("train")
        (features / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(InputError, match=r"splits is .*, expected some of train, validation, test"):
            push_features(features, "alice/x")

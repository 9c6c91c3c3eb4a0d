"""No token is written, sent or quoted, wherever the user provides it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hostile_features import edit_index
from tagging_models import save_classifier, write_sound
from token_traces import OF_SERVICE, holding, said_by_commands, said_by_service, written_below
from training_run import build_tiny_features, trainer_of

from hf_audio import InputError, parse_recipe
from hf_audio.analysis.evaluation import evaluate_model
from hf_audio.config.reported import reported_command, reported_settings
from hf_audio.data.index.labels import SINGLE_LABEL
from hf_audio.data.loading.features_dataset import load_features
from hf_audio.errors import printable
from hf_audio.privacy import write_published
from hf_audio.publishing.push import push_features, push_model

TOKEN = "hf_" + "aSecretThatNobodyMayRead" + "0123456789"
VALUES = {"output_dir": "runs/x", "corpus": "folder", "window_s": 0.5, "learning_rate": 1e-4}


@pytest.fixture
def features(small_features, tmp_path) -> Path:
    return shutil.copytree(small_features, tmp_path / "features")


class TestTokens:
    @pytest.mark.parametrize(
        "spelling", [["--hub_token", TOKEN], ["--hub-token", TOKEN], [f"--hub_token={TOKEN}"], [f"--hub-token={TOKEN}"]]
    )
    def test_a_token_flag_is_kept_out_of_the_settings_however_it_is_spelled(self, spelling, monkeypatch):
        recipe = parse_recipe(VALUES, argv=[*spelling, "--window_s", "0.25"])
        assert recipe.token == TOKEN and recipe.training.hub_token is None
        said = [repr(recipe), repr(recipe.training), recipe.training.to_json_string(), str(recipe.chosen)]
        said += [json.dumps(reported_settings(recipe)), reported_command(recipe, "recipes/x.py")]
        assert not [text for text in said if TOKEN in text]

    def test_a_token_in_a_settings_file_is_kept_out_of_the_settings_too(self, tmp_path):
        (tmp_path / "mine.yaml").write_text(f"hub_token: {TOKEN}\nwindow_s: 0.25\n")
        recipe = parse_recipe(VALUES, argv=["--config", str(tmp_path / "mine.yaml")])
        assert recipe.token == TOKEN and recipe.training.hub_token is None
        command = reported_command(recipe, "recipes/cnn_folder.py")
        assert command == "accelerate launch recipes/cnn_folder.py --window_s 0.25"

    @pytest.mark.parametrize(
        "content", ["hub_token: %s: x\n", "- {hub_token: %s\n", "hub_token: [%s\n", "? %s : : \x07"]
    )
    def test_a_broken_settings_file_is_not_quoted(self, tmp_path, content):
        (tmp_path / "mine.yaml").write_text(content % TOKEN)
        with pytest.raises(InputError, match=r"--config .*mine\.yaml") as error:
            parse_recipe(VALUES, argv=["--config", str(tmp_path / "mine.yaml")])
        assert "NobodyMayRead" not in str(error.value) and "\n" not in str(error.value)

    def test_a_token_must_be_text(self, tmp_path):
        (tmp_path / "mine.yaml").write_text("hub_token: {a: 1}\n")
        with pytest.raises(InputError, match="A Hub token is a string"):
            parse_recipe(VALUES, argv=["--config", str(tmp_path / "mine.yaml")])

    def test_messages_hide_everything_that_looks_like_a_token(self):
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

    def test_using_a_private_model_leaves_no_token(self, hub, token, hub_env, tmp_path, forks):
        """Neither the Hub's nor the service's token is in tags, embeddings, messages, responses, metrics or logs."""
        folder, sound = save_classifier(tmp_path / "cnn", "cnn"), write_sound(tmp_path / "a.wav", 0.8)
        hub.create("models", "alice/cnn", {path.name: path.read_bytes() for path in folder.iterdir()}, private=True)
        (tmp_path / "used").mkdir()
        how = {"env": hub_env, "cwd": tmp_path / "used"}
        said = said_by_commands(forks, "alice/cnn", sound, token, **how)
        said += said_by_service(forks, "alice/cnn", sound, **how)
        found = {"what they say": said.encode(), **written_below(tmp_path / "used")}
        assert {Path(name).name for name in found} == {"what they say", "embeddings.parquet"}
        for secret in (token, OF_SERVICE):
            assert not holding(secret, found)

    def test_the_trainer_publishes_nothing_on_its_own(self, tmp_path, tiny_features):
        with pytest.raises(InputError, match=r"publish the finished run with hf_audio\.push_model"):
            trainer_of(tiny_features, tmp_path / "run", arguments={"push_to_hub": True})

    def test_a_file_with_a_token_is_not_written(self, tmp_path, monkeypatch, token):
        for known in (TOKEN, token):
            with pytest.raises(InputError, match="contains a Hugging Face token") as error:
                write_published(tmp_path / "report.json", f'{{"x": "{known}"}}')
            assert known not in str(error.value) and not (tmp_path / "report.json").exists()
        parse_recipe(VALUES, argv=["--hub_token", "an-old-token-of-ours"])
        with pytest.raises(InputError, match="contains a Hugging Face token"):
            write_published(tmp_path / "report.json", "an-old-token-of-ours")

    def test_a_report_with_a_token_is_not_written(self, tmp_path):
        features = load_features(build_tiny_features(tmp_path / "features", SINGLE_LABEL))
        trainer = trainer_of(features, tmp_path / "run")
        with pytest.raises(InputError, match=r"report\.json contains a Hugging Face token"):
            evaluate_model(trainer, features, tmp_path / "run", command=f"recipes/x.py --token={TOKEN}")
        assert not (tmp_path / "run" / "report.json").exists()

    @pytest.mark.parametrize("name", ["README.md", "report.json", "config.json", "scores/clips.parquet"])
    def test_a_file_with_a_token_is_not_pushed(self, hub, token, small_run, name):
        (small_run / name).parent.mkdir(exist_ok=True)
        with open(small_run / name, "a") as file:
            file.write(f"\n{TOKEN if name == 'README.md' else token}\n")
        with pytest.raises(InputError, match=rf"{name} contains a Hugging Face token"):
            push_model(small_run, "alice/with-token")
        assert ("models", "alice/with-token") not in hub.storage.repos

    def test_the_stored_login_token_is_recognized(self, hub, features, tmp_path, monkeypatch):
        monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "logged_in"))
        (tmp_path / "logged_in").write_text(hub.token("alice"))
        edit_index(features, lambda rows: rows[0].update(group=hub.token("alice")))
        with pytest.raises(InputError, match=r"index\.parquet contains a Hugging Face token"):
            push_features(features, "alice/x", token=hub.token("bob"))

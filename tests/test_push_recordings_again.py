"""Uploads of recordings that break, are killed, are refused, and are started again."""

from pathlib import Path

import pytest
import test_push_recordings
from corpus_trees import write_sound
from forks import Fork, Forks
from test_push_recordings import RATE, load, share

from hf_audio import InputError
from hf_audio.data.sharing import plan

pytestmark = pytest.mark.timeout(90)
elsewhere, many, speakers = test_push_recordings.elsewhere, test_push_recordings.many, test_push_recordings.speakers


class TestResuming:
    def run(self, forks: Forks, many: Path) -> Fork:
        code = (
            "import sys; import hf_audio; from hf_audio.data.sharing import plan; from hf_audio.publishing import "
            "recordings; from hf_audio.parsing import parse_settings; plan.SHARD_BYTES = 300_000; "
            "recordings.COMMIT_BYTES = 1; hf_audio.share_corpus(*parse_settings(hf_audio.CorpusConfig, "
            "hf_audio.ShareConfig, values={}, argv=sys.argv[1:]))"
        )
        return forks.start(code, "--data_dir", many, "--hub_dataset_id", "alice/killed", "--num_workers", "2")

    def test_after_a_kill_only_missing_shards_are_built_and_sent(self, hub, token, many, forks, monkeypatch):
        """Two shards are committed; the commit of the third one stalls until the process is killed."""
        hub.faults.add("POST", "/commit/", "stall", skip=3, seconds=60)
        self.run(forks, many).kill_once(lambda: len(hub.log.matching("POST", "/commit/")) == 4)
        arrived = [path for path in hub.repo("datasets", "alice/killed").paths() if path.startswith("data/")]
        assert len(arrived) == 2
        with pytest.raises(Exception, match="the-upload-of-this-dataset-is-not-finished"):
            load("alice/killed")
        hub.faults.clear()
        hub.log.clear()
        monkeypatch.setattr("hf_audio.publishing.recordings.COMMIT_BYTES", 1)
        share("--data_dir", many, "--hub_dataset_id", "alice/killed")
        repo = hub.repo("datasets", "alice/killed")
        total = [path for path in repo.paths() if path.startswith("data/")]
        assert len(hub.log.matching("PUT")) == len(total) - 3  # the third had arrived, though not its commit
        assert sorted(load("alice/killed", split="train")["clip_id"]) == sorted(
            f"{path.parent.name}/{path.name}" for path in many.rglob("*.wav")
        )
        self.nothing_more_is_sent(hub, many)

    def nothing_more_is_sent(self, hub, many):
        hub.log.clear()
        share("--data_dir", many, "--hub_dataset_id", "alice/killed")
        assert not hub.log.matching("PUT") and not hub.log.matching("POST", "/commit/")

    def test_files_that_the_hub_lost_are_sent_again(self, hub, token, many):
        share("--data_dir", many, "--hub_dataset_id", "alice/lost")
        repo = hub.repo("datasets", "alice/lost")
        before = {path: repo.read(path) for path in repo.paths()}
        lost = next(path for path in before if path.startswith("data/"))
        repo.commit({}, [lost])
        share("--data_dir", many, "--hub_dataset_id", "alice/lost")
        assert {path: repo.read(path) for path in repo.paths()} == before

    def test_other_recordings_are_not_mixed_in(self, hub, token, many):
        share("--data_dir", many, "--hub_dataset_id", "alice/other")
        write_sound(many / "bell/0.wav", 1.0, 77, [500.0], RATE)
        with pytest.raises(
            InputError, match=r"differs in: recordings \(sizes and times of files\); remove it to start"
        ):
            share("--data_dir", many, "--hub_dataset_id", "alice/other")
        with pytest.raises(InputError, match="differs in: audio_format was 'flac' and is now 'original'"):
            share("--data_dir", many, "--hub_dataset_id", "alice/other", "--audio_format", "original")

    def test_a_second_version_replaces_the_first(self, hub, token, many, tmp_path, monkeypatch):
        share("--data_dir", many, "--hub_dataset_id", "alice/version", "--output_dir", tmp_path / "first")
        (many / "bell/0.wav").unlink()
        monkeypatch.setattr(plan, "SHARD_BYTES", 1 << 30)
        share("--data_dir", many, "--hub_dataset_id", "alice/version", "--output_dir", tmp_path / "second")
        paths = hub.repo("datasets", "alice/version").paths()
        assert [path for path in paths if path.startswith("data/")] == ["data/train-00000-of-00001.parquet"]
        assert len(load("alice/version", split="train")) == 23


class TestFaults:
    @pytest.mark.parametrize(
        ("method", "path", "kind"),
        [("GET", "/tree/", "503"), ("POST", "/commit/", "503"), ("POST", "/commit/", "reset"), ("PUT", "", "503")],
    )
    def test_a_push_survives(self, hub, token, speakers, tmp_path, method, path, kind):
        name = f"alice/{tmp_path.name}"
        hub.faults.add(method, path, kind, times=1)
        share("--data_dir", speakers, "--hub_dataset_id", name)
        assert len(load(name, split="train")) == 4


class TestRefusals:
    """Before anything is read: the folder of recordings does not even exist."""

    def refusal(self, *argv: object) -> str:
        with pytest.raises(InputError) as error:
            share(*argv)
        assert "\n" not in str(error.value) and not Path("pushes").exists()
        return str(error.value)

    def test_a_license_that_forbids_it(self, hub, token):
        closed = ("--corpus", "irmas", "--data_dir", "not/there", "--hub_dataset_id", "alice/irmas")
        assert "alice/irmas would be public, but IRMAS is under 'CC BY-NC-SA 3.0'" in self.refusal(*closed)
        assert ("datasets", "alice/irmas") not in hub.storage.repos
        for allowed in (["--hub_private_repo"], ["--public_license", "CC BY-NC-SA 3.0"]):
            assert "not/there" in self.refusal(*closed, *allowed)

    def test_settings_that_would_do_nothing(self):
        own, out = ("--data_dir", "not/there"), ("--output_dir", "out")
        assert "give --hub_dataset_id USER/NAME, or --output_dir DIR" in self.refusal(*own)
        assert "--hub_private_repo would have no effect here" in self.refusal(*own, *out, "--hub_private_repo")
        assert "--negatives esc50 are added when features" in self.refusal(*own, *out, "--negatives", "esc50")
        assert "ESC-50 is under" in self.refusal("--corpus", "esc50", *own, *out, "--license", "mit")
        assert "Unknown flag '--fold'" in self.refusal(*own, *out, "--fold", "1")

    def test_bad_settings(self, hub, token, speakers, tmp_path):
        own = ("--data_dir", speakers, "--output_dir", tmp_path / "out")
        assert "Unknown --audio_format 'mp3': expected one of: flac, original" in self.refusal(
            *own, "--audio_format", "mp3"
        )
        assert "broken.wav is unreadable" in self.refusal(*own, "--strict")
        hub.create("datasets", "alice/features", {"manifest.json": b"{}"})
        assert "alice/features contains features" in self.refusal(*own, "--hub_dataset_id", "alice/features")
        self.refusal("--data_dir", speakers, "--output_dir", tmp_path / "words.csv" / "x", "--hub_dataset_id", "a b/c")

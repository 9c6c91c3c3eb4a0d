"""Pushing over faulty connections, resuming, and refusals: the unmodified client against the tests' own Hub."""

import hashlib
import json
import shutil
import threading
import time

import datasets
import numpy as np
import pytest
from huggingface_hub import get_session

from hf_audio.data.index.table import CorpusCard
from hf_audio.errors import InputError
from hf_audio.publishing import hub as publishing_hub
from hf_audio.publishing.push import push_features, push_model

pytestmark = pytest.mark.timeout(90)
CLOSED = CorpusCard("Guarded Tones", license="CC BY-NC-SA 3.0", may_redistribute=False)
NUM_SHARDS = 4
SHARD_BYTES = 200_000


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(publishing_hub, "MIN_WAIT_S", 0.01)
    monkeypatch.setattr(publishing_hub, "MAX_WAIT_S", 0.05)


@pytest.fixture
def features(small_features, tmp_path):
    return shutil.copytree(small_features, tmp_path / "features")


@pytest.fixture
def closed_features(features):
    manifest = json.loads((features / "manifest.json").read_text())
    manifest["corpus"] |= {"name": CLOSED.name, "license": CLOSED.license, "may_redistribute": False}
    (features / "manifest.json").write_text(json.dumps(manifest))
    return features


@pytest.fixture
def model(tmp_path):
    """A run folder after training; its weights are several large files, because tests count bytes."""
    folder = tmp_path / "run"
    for path in (
        "checkpoints/checkpoint-5/optimizer.pt",
        "tensorboard/events.out",
        "training_args.bin",
        "report.json",
    ):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(path)
    (folder / "config.json").write_text("{}")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    random = np.random.default_rng(0)
    for number in range(NUM_SHARDS):
        name = f"model-{number + 1:05d}-of-{NUM_SHARDS:05d}.safetensors"
        (folder / name).write_bytes(random.bytes(SHARD_BYTES))
    return folder


def test_features_arrive_whole_and_stream(hub, token, features):
    url = push_features(features, "tones")
    assert url == f"{hub.endpoint}/datasets/alice/tones"
    repo = hub.repo("datasets", "alice/tones")
    assert not repo.private
    files = {path.relative_to(features).as_posix() for path in features.rglob("*") if path.is_file()}
    files = sorted(files - {"plan.json"})  # only the build needs it
    assert repo.paths() == files and all(repo.read(path) == (features / path).read_bytes() for path in files)
    assert 'load_dataset("alice/tones"' in repo.read("README.md").decode()
    row = next(iter(datasets.load_dataset("alice/tones", split="test", streaming=True)))
    assert row["features"].size == (98, 128) and row["clip_id"].endswith("/5")


def test_a_second_push_replaces_the_files_of_the_first(hub, token, features):
    repo = hub.create("datasets", "alice/more-shards", {"data/train-00001-of-00002.parquet": b"old", "mine.txt": b"-"})
    push_features(features, "alice/more-shards")
    assert "data/train-00001-of-00002.parquet" not in repo.paths() and "mine.txt" in repo.paths()
    assert "data/train-00000-of-00001.parquet" in repo.paths()


def test_features_go_to_a_branch(hub, token, features):
    push_features(features, "acme/branches", revision="next")
    repo = hub.repo("datasets", "acme/branches")
    assert "manifest.json" in repo.paths("next") and repo.paths("main") == []
    push_features(features, "acme/branches", revision="next")  # the branch may already exist


def test_a_card_that_was_edited_is_kept(hub, token, features):
    (features / "README.md").write_text('---\nlicense: mit\n---\nMine: load_dataset("./features", split="train")')
    push_features(features, "alice/edited")
    expected = b'---\nlicense: mit\n---\nMine: load_dataset("alice/edited", split="train")'
    assert hub.repo("datasets", "alice/edited").read("README.md") == expected


def test_a_model_is_pushed_without_files_for_resuming(hub, token, model):
    repo = hub.create(
        "models", "alice/run", {"adapter_config.json": b"{}", "model.safetensors": b"old", "my.txt": b"-"}
    )
    assert push_model(model, "alice/run", private=False) == f"{hub.endpoint}/alice/run"
    weights = [f"model-{number + 1:05d}-of-{NUM_SHARDS:05d}.safetensors" for number in range(NUM_SHARDS)]
    assert repo.paths() == sorted(["README.md", "config.json", "my.txt", "report.json", *weights])


class TestFaults:
    """Each of these faults stops the plain client library; a push survives it."""

    @pytest.mark.parametrize(
        ("method", "path", "kind"),
        [
            ("GET", "/whoami", "503"),
            ("GET", r"/api/models/alice/[^/]+$", "503"),
            ("POST", "/repos/create", "503"),
            ("POST", "/repos/create", "lost_answer"),
            ("POST", "/validate-yaml", "502"),
            ("POST", "/commit/", "503"),
            ("POST", "/commit/", "412"),
            ("POST", "/commit/", "lost_answer"),
            ("POST", "/commit/", "reset"),
            ("POST", "/commit/", "drop_after"),
        ],
    )
    def test_a_push_survives(self, hub, token, model, tmp_path, method, path, kind):
        name = f"alice/{tmp_path.name}"
        hub.faults.add(method, path, kind, times=2, after_bytes=100 if kind == "drop_after" else 0)
        push_model(model, name)
        assert hub.log.matching(method, path)[0].status in (
            0,
            int(kind) if kind.isdigit() else 0,
        )  # it did occur
        assert len(hub.repo("models", name).paths()) == 3 + NUM_SHARDS
        assert len(hub.log.matching("PUT")) == NUM_SHARDS  # the weights were sent once
        titles = [commit.title for commit in hub.repo("models", name).history(hub.repo("models", name).resolve())]
        assert titles == ["Upload model", "initial commit"]

    @pytest.mark.parametrize("kind", ["reset", "drop_after", "503"])
    def test_a_broken_upload_is_repeated(self, hub, token, model, kind):
        name = f"alice/upload-{kind.replace('_', '-')}"
        hub.faults.add("PUT", "/upload/", kind, after_bytes=1000)
        push_model(model, name)
        assert len(hub.log.matching("PUT")) == NUM_SHARDS + 1
        assert hub.repo("models", name).read("config.json") == b"{}"

    def test_a_hub_that_stops_answering(self, hub, token, model, monkeypatch):
        monkeypatch.setattr(publishing_hub, "TIMEOUT_S", 0.5)
        for path in ("/whoami", "/commit/"):
            hub.faults.add("GET|POST", path, "stall", seconds=60)
        push_model(model, "alice/silent")
        assert "config.json" in hub.repo("models", "alice/silent").paths()
        assert get_session().timeout.read is None  # the library's session is as it was

    def test_two_pushes_that_race(self, hub, token, model, features):
        """The first commit waits until the other is on the branch: it is refused with 412 and tried again."""
        hub.create("models", "alice/race")
        hub.faults.add("POST", "/commit/", "stall", after_bytes=1, seconds=60)
        first = threading.Thread(target=push_model, args=(model, "alice/race"))
        first.start()
        while hub.log.bytes_received("POST", "/commit/") == 0:
            time.sleep(0.01)
        hub.repo("models", "alice/race").commit({"other.txt": b"from another push"})
        hub.faults.clear()
        first.join(timeout=60)
        assert [request.status for request in hub.log.matching("POST", "/commit/")] == [412, 200]
        assert {"other.txt", "config.json"} <= set(hub.repo("models", "alice/race").paths())

    def test_a_hub_that_stays_broken_is_named_in_one_sentence(self, hub, token, model):
        hub.faults.add("POST", "/commit/", "503", times=100)
        with pytest.raises(InputError, match=r"failed 6 times in a row.*503.*push again later") as error:
            push_model(model, "alice/broken")
        assert "\n" not in str(error.value) and hub.endpoint in str(error.value)
        assert len(hub.log.matching("POST", "/commit/")) == 6
        hub.faults.clear()
        hub.log.clear()
        push_model(model, "alice/broken")
        assert not hub.log.matching("PUT")  # the weights were there already


class TestResuming:
    def test_nothing_is_sent_twice(self, hub, token, model):
        push_model(model, "alice/twice")
        assert hub.log.bytes_received("PUT") == NUM_SHARDS * SHARD_BYTES
        hub.log.clear()
        push_model(model, "alice/twice")
        assert hub.log.bytes_received("PUT") == 0 and not hub.log.matching("POST", "/commit/")
        (model / "model-00002-of-00004.safetensors").write_bytes(bytes(5000))
        push_model(model, "alice/twice")
        assert hub.log.bytes_received("PUT") == 5000

    def test_after_a_refused_upload_only_missing_files_are_sent(self, hub, token, model):
        hub.faults.add("PUT", "/upload/", "400", skip=1)
        with pytest.raises(Exception, match=r"model-0000\d-of-00004\.safetensors"):
            push_model(model, "alice/refused")
        assert "config.json" not in hub.repo("models", "alice/refused").paths()
        arrived = len(hub.repo("models", "alice/refused").uploaded)
        hub.log.clear()
        push_model(model, "alice/refused")
        assert hub.log.bytes_received("PUT") == (NUM_SHARDS - arrived) * SHARD_BYTES < NUM_SHARDS * SHARD_BYTES

    def test_after_a_kill_only_missing_files_are_sent(self, hub, token, model, forks):
        """The last upload stalls until the process is killed."""
        hub.faults.add("PUT", "/upload/", "stall", skip=NUM_SHARDS - 1, after_bytes=1, seconds=60)
        code = "import sys; from hf_audio.publishing.push import push_model; push_model(sys.argv[1], 'alice/killed')"

        def num_uploaded() -> int:
            return len(getattr(hub.storage.repos.get(("models", "alice/killed")), "uploaded", ()))

        forks.start(code, model).kill_once(lambda: num_uploaded() == NUM_SHARDS - 1)
        assert hub.repo("models", "alice/killed").paths() == []  # no half model is visible
        hub.log.clear()
        push_model(model, "alice/killed")
        assert hub.log.bytes_received("PUT") == SHARD_BYTES
        assert "config.json" in hub.repo("models", "alice/killed").paths()

    def test_a_killed_push_of_a_large_dataset_keeps_finished_parts(self, hub, token, features, forks):
        """The first part is committed; the commit of the second one stalls until the process is killed."""
        data = sorted((features / "data").glob("*.parquet"))
        assert len(data) > 2
        hub.faults.add("POST", "/commit/", "stall", skip=1, seconds=60)
        code = (
            "import sys; from hf_audio.publishing import hub; hub.MAX_COMMIT_BYTES = 1;"
            "from hf_audio.publishing.push import push_features; push_features(sys.argv[1], 'alice/parts')"
        )
        forks.start(code, features).kill_once(lambda: len(hub.log.matching("POST", "/commit/")) == 2)
        arrived = hub.repo("datasets", "alice/parts").paths()
        assert arrived == [f"data/{data[0].name}"]  # without a manifest it does not count as complete
        hub.log.clear()
        assert forks.run(code, features).returncode == 0
        for number, path in enumerate(data):  # the second part's file had arrived too, though not its commit
            sent = hub.log.matching("PUT", hashlib.sha256(path.read_bytes()).hexdigest())
            assert bool(sent) == (number >= 2)
        assert "manifest.json" in hub.repo("datasets", "alice/parts").paths()
        assert len(hub.log.matching("POST", "/commit/")) == len(data)  # one per part after the first, then the rest
        assert datasets.load_dataset("alice/parts", split="train").num_rows


class TestLicense:
    """A corpus that must not be redistributed goes to a private repository, or the user names its license."""

    def test_a_public_push_is_refused_with_both_remedies(self, hub, token, closed_features):
        for options in ({}, {"private": False}, {"public_license": "MIT"}, {"public_license": ""}):
            with pytest.raises(InputError) as error:
                push_features(closed_features, "alice/closed", **options)
            message = str(error.value)
            assert "alice/closed would be public, but Guarded Tones is under 'CC BY-NC-SA 3.0'" in message
            assert "private=True" in message and "public_license='CC BY-NC-SA 3.0'" in message
        assert "not 'MIT'" not in message and ("datasets", "alice/closed") not in hub.storage.repos
        assert not (closed_features / "README.md").exists()

    def test_a_private_push_is_allowed(self, hub, token, closed_features):
        push_features(closed_features, "alice/closed-private", private=True)
        assert hub.repo("datasets", "alice/closed-private").private
        push_features(closed_features, "alice/closed-private")  # it exists and is private

    def test_naming_the_license_pushes_in_public(self, hub, token, closed_features):
        push_features(closed_features, "alice/closed-public", public_license="CC BY-NC-SA 3.0")
        repo = hub.repo("datasets", "alice/closed-public")
        assert not repo.private and "manifest.json" in repo.paths()
        assert b"license: cc-by-nc-sa-3.0" in repo.read("README.md")

    def test_a_repository_that_is_public_already_counts_as_public(self, hub, token, closed_features):
        repo = hub.create("datasets", "alice/open-already")
        with pytest.raises(InputError, match="would be public"):
            push_features(closed_features, "alice/open-already")
        with pytest.raises(InputError, match="exists and is public, so a private push to it is impossible"):
            push_features(closed_features, "alice/open-already", private=True)
        assert repo.paths() == []


class TestRefusals:
    """Each is one clear sentence, without retries: trying again would not help."""

    @pytest.fixture(autouse=True)
    def once(self, hub):
        yield
        assert len(hub.log.matching("GET", "/whoami")) <= 1 and len(hub.log.matching("POST", "/repos/create")) <= 1

    def test_no_token(self, hub, model, monkeypatch):
        monkeypatch.delenv("HF_TOKEN", raising=False)
        with pytest.raises(InputError, match="No Hugging Face token was found: log in with `hf auth login`, or set"):
            push_model(model, "alice/x")

    def test_wrong_token(self, hub, model, monkeypatch):
        with pytest.raises(InputError, match="does not accept the token that was given: log in again"):
            push_model(model, "alice/x", token="hf_wrong")
        hub.log.clear()
        monkeypatch.setenv("HF_TOKEN", "hf_wrong")
        with pytest.raises(InputError, match="does not accept the token in HF_TOKEN"):
            push_model(model, "alice/x")

    @pytest.mark.parametrize("name", ["bob/x", "nobody-has-this-name/x"])
    def test_a_namespace_of_others(self, hub, token, model, name):
        with pytest.raises(
            InputError, match=rf"alice is not allowed to write to {name} .*push to one of alice/..., acme/..."
        ):
            push_model(model, name)

    def test_a_repository_of_others(self, hub, token, model):
        hub.create("models", "bob/his")
        with pytest.raises(InputError, match="alice is not allowed to write to bob/his"):
            push_model(model, "bob/his")

    def test_a_token_that_may_only_read(self, hub, model):
        with pytest.raises(InputError, match=r"is read-only.*with write permission at"):
            push_model(model, "reader/x", token=hub.token("reader"))

    def test_an_invalid_repository_name(self, hub, token, model):
        for name in ("alice/with space", "a/b/c"):
            hub.log.clear()
            with pytest.raises(InputError, match="is not a valid repository name"):
                push_model(model, name)

    def test_folders_that_are_not_finished(self, hub, token, tmp_path):
        with pytest.raises(InputError, match=r"has no manifest\.json"):
            push_features(tmp_path, "alice/x")
        with pytest.raises(InputError, match=r"has no config\.json"):
            push_model(tmp_path, "alice/x")
        assert not hub.log.requests

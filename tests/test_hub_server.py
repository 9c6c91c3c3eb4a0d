"""The test Hub with the unmodified client libraries, on which all other tests with the Hub depend."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import datasets
import httpx2
import numpy as np
import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_session, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

pytestmark = pytest.mark.timeout(60)
WEIGHTS = np.random.default_rng(0).bytes(300_000)


@pytest.fixture
def api(hub) -> HfApi:
    return HfApi(token=hub.token("alice"))


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with regular files, two of them in a subfolder, and one for LFS."""
    root = tmp_path / "folder"
    (root / "deep" / "er").mkdir(parents=True)
    (root / "README.md").write_text("---\nlicense: mit\ntags: [audio]\n---\nHello")
    (root / "config.json").write_text("{}")
    (root / "deep" / "er" / "note.txt").write_text("é")
    (root / "weights.safetensors").write_bytes(WEIGHTS)
    return root


def upload(api: HfApi, repo_id: str, folder: Path, **options) -> None:
    api.create_repo(repo_id, exist_ok=True)
    api.upload_folder(repo_id=repo_id, folder_path=folder, **options)


def test_a_folder_is_uploaded_and_downloaded_unchanged(hub, api, folder):
    upload(api, "alice/folder", folder)
    back = Path(snapshot_download("alice/folder", token=False))
    for path in ("README.md", "config.json", "deep/er/note.txt", "weights.safetensors"):
        assert (back / path).read_bytes() == (folder / path).read_bytes()
    info = api.model_info("alice/folder", files_metadata=True)
    assert info.card_data.license == "mit" and info.tags == ["audio"]
    sizes = {sibling.rfilename: (sibling.size, sibling.lfs is not None) for sibling in info.siblings}
    assert sizes["weights.safetensors"] == (len(WEIGHTS), True) and sizes["config.json"] == (2, False)


def test_large_files_use_the_storage_origin_without_a_token(hub, api, folder):
    upload(api, "alice/lfs", folder)
    snapshot_download("alice/lfs", token=hub.token("alice"))
    (put,) = hub.log.matching("PUT")
    (get,) = hub.log.matching("GET", origin="storage")
    assert (put.origin, put.received, get.sent) == ("storage", len(WEIGHTS), len(WEIGHTS))
    assert not put.has_token and not get.has_token
    assert get_session().get(f"{hub.storage_endpoint}{get.path}", timeout=10).status_code == 403  # unsigned


def test_pushing_again_sends_nothing(hub, api, folder):
    upload(api, "alice/again", folder)
    before = api.model_info("alice/again").sha
    hub.log.clear()
    upload(api, "alice/again", folder)
    assert not hub.log.matching("PUT") and not hub.log.matching("POST", "/commit/")
    assert api.model_info("alice/again").sha == before


def test_trees_are_listed_in_pages_and_below_a_folder(hub, api, folder, monkeypatch):
    upload(api, "alice/tree", folder)
    monkeypatch.setattr(hub, "page_length", 2)
    nodes = {node.path: node for node in api.list_repo_tree("alice/tree", recursive=True, expand=True)}
    assert sorted(nodes) == sorted(
        [".gitattributes", "README.md", "config.json", "deep", "deep/er", "deep/er/note.txt", "weights.safetensors"]
    )
    assert nodes["weights.safetensors"].lfs.size == len(WEIGHTS)
    assert nodes["config.json"].last_commit.title.startswith("Upload folder")
    assert len(hub.log.matching("GET", "/tree/")) == 4
    assert [node.path for node in api.list_repo_tree("alice/tree", "deep")] == ["deep/er"]
    with pytest.raises(EntryNotFoundError):
        list(api.list_repo_tree("alice/tree", "nowhere"))
    found = api.get_paths_info("alice/tree", ["deep", "config.json", "nowhere"])
    assert [node.path for node in found] == ["deep", "config.json"]


def test_branches_tags_and_history(hub, api, folder):
    upload(api, "alice/refs", folder)
    api.create_tag("alice/refs", tag="v1")
    api.create_branch("alice/refs", branch="next")
    operations = [CommitOperationDelete("deep/", is_folder=True), CommitOperationAdd("new.txt", b"new")]
    api.create_commit("alice/refs", operations, commit_message="Change", revision="next")
    assert "new.txt" in hub.repo("models", "alice/refs").paths("next")
    assert hub.repo("models", "alice/refs").paths("v1") == hub.repo("models", "alice/refs").paths("main")
    assert not any(path.startswith("deep/") for path in hub.repo("models", "alice/refs").paths("next"))
    refs = api.list_repo_refs("alice/refs")
    assert {branch.name for branch in refs.branches} == {"main", "next"} and refs.tags[0].name == "v1"
    titles = [commit.title for commit in api.list_repo_commits("alice/refs", revision="next")]
    assert titles[0] == "Change" and titles[-1] == "initial commit"
    with pytest.raises(RevisionNotFoundError):
        api.model_info("alice/refs", revision="nowhere")
    with pytest.raises(EntryNotFoundError):
        api.hf_hub_download("alice/refs", "nowhere.txt")


def test_repositories_are_created_moved_and_deleted(hub, api):
    url = api.create_repo("acme/one", repo_type="dataset", private=True)
    assert url.repo_id == "acme/one" and hub.repo("datasets", "acme/one").private
    assert api.create_repo("acme/one", repo_type="dataset", exist_ok=True) == url
    with pytest.raises(HfHubHTTPError, match="already created"):
        api.create_repo("acme/one", repo_type="dataset")
    api.update_repo_settings("acme/one", repo_type="dataset", private=False)
    api.move_repo("acme/one", "alice/two", repo_type="dataset")
    assert api.dataset_info("alice/two").private is False
    api.delete_repo("alice/two", repo_type="dataset")
    assert not api.repo_exists("alice/two", repo_type="dataset")


def test_invalid_card_metadata_is_refused(hub, api, folder):
    (folder / "README.md").write_text("---\nlicense: [\n---\n")
    with pytest.raises(ValueError, match="Invalid metadata"):
        upload(api, "alice/yaml", folder)


def test_permissions_to_read_and_write(hub, api):
    hub.create("models", "alice/secret", {"config.json": b"{}"}, private=True)
    hub.create("models", "alice/open", {"config.json": b"{}"})
    bob, reader = HfApi(token=hub.token("bob")), HfApi(token=hub.token("reader"))
    assert api.whoami()["orgs"][0]["name"] == "acme"
    for other in (bob, HfApi(token=False)):  # the Hub hides that it exists
        with pytest.raises(RepositoryNotFoundError):
            other.hf_hub_download("alice/secret", "config.json")
    assert Path(api.hf_hub_download("alice/secret", "config.json")).read_text() == "{}"
    with pytest.raises(HfHubHTTPError, match="Invalid user token"):
        HfApi(token="hf_wrong").whoami()
    for refused in (lambda: bob.create_repo("alice/new"), lambda: reader.create_repo("reader/new")):
        with pytest.raises(HfHubHTTPError, match="403"):
            refused()
    with pytest.raises(HfHubHTTPError, match="403"):
        bob.upload_file(path_or_fileobj=b"x", path_in_repo="x.txt", repo_id="alice/open")


def test_a_gated_repository_is_open_to_users_on_its_list(hub):
    repo = hub.create("models", "alice/gated", {"config.json": b"{}"})
    repo.gated = "manual"
    bob = HfApi(token=hub.token("bob"))
    for other, status in ((bob, 403), (HfApi(token=False), 401)):
        assert other.model_info("alice/gated").gated == "manual"
        with pytest.raises(GatedRepoError) as refused:
            other.hf_hub_download("alice/gated", "config.json")
        assert refused.value.response.status_code == status
    repo.granted.add("bob")
    bob.auth_check("alice/gated")
    assert bob.hf_hub_download("alice/gated", "config.json")


def test_datasets_pushes_and_streams_by_ranged_reads(hub, token):
    rows = datasets.Dataset.from_dict({"value": [np.random.default_rng(i).bytes(2000) for i in range(1200)]})
    rows.push_to_hub("alice/rows", num_shards=3)
    sizes = [f.size for p, f in hub.repo("datasets", "alice/rows").resolve().files.items() if p.endswith(".parquet")]
    assert len(sizes) == 3
    hub.log.clear()
    first = next(iter(datasets.load_dataset("alice/rows", split="train", streaming=True)))
    assert first["value"] == rows[0]["value"]
    reads = hub.log.matching("GET", origin="storage")
    assert reads and all(read.status == 206 for read in reads)
    assert sum(read.sent for read in reads) < 1.2 * sizes[0]  # one of three shards, and a footer
    assert datasets.load_dataset("alice/rows", split="train")["value"][:] == rows["value"][:]


def test_transformers_and_peft_can_load_from_it(hub, token, tmp_path):
    import torch
    from peft import LoraConfig, PeftModel, get_peft_model
    from transformers import (
        ASTConfig,
        ASTFeatureExtractor,
        ASTForAudioClassification,
        AutoFeatureExtractor,
        AutoModelForAudioClassification,
    )

    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = ASTForAudioClassification(ASTConfig(max_length=64, num_mel_bins=32, **size)).eval()
    model.push_to_hub("alice/ast")
    ASTFeatureExtractor(max_length=64, num_mel_bins=32).push_to_hub("alice/ast")
    again = AutoModelForAudioClassification.from_pretrained("alice/ast").eval()
    assert AutoFeatureExtractor.from_pretrained("alice/ast").num_mel_bins == 32
    spectrograms = torch.randn(1, 64, 32)
    with torch.no_grad():
        torch.testing.assert_close(again(spectrograms).logits, model(spectrograms).logits)

    adapted = get_peft_model(again, LoraConfig(target_modules=["q_proj", "v_proj"], init_lora_weights=False)).eval()
    with torch.no_grad():
        wanted = adapted(spectrograms).logits
    adapted.push_to_hub("alice/ast-lora")
    base = AutoModelForAudioClassification.from_pretrained("alice/ast")
    with torch.no_grad():
        loaded = PeftModel.from_pretrained(base, "alice/ast-lora").eval()(spectrograms).logits
    torch.testing.assert_close(loaded, wanted)


def test_range_requests(hub):
    content = bytes(range(256)) * 10 + b"\0"
    hub.create("models", "alice/ranges", {"x.bin": content, "x.txt": b"0123456789"})
    url = f"{hub.endpoint}/alice/ranges/resolve/main/"
    for asked, wanted in {"bytes=3-5": b"345", "bytes=7-": b"789", "bytes=-2": b"89", "bytes=8-99": b"89"}.items():
        answer = get_session().get(f"{url}x.txt", headers={"Range": asked}, timeout=10)
        assert (answer.status_code, answer.content) == (206, wanted)
    assert answer.headers["Content-Range"] == "bytes 8-9/10"
    answer = get_session().get(f"{url}x.bin", headers={"Range": "bytes=2559-2560"}, timeout=10)
    assert (answer.status_code, answer.content) == (206, b"\xff\0")
    assert get_session().get(f"{url}x.txt", headers={"Range": "bytes=10-"}, timeout=10).status_code == 416


def test_a_chunked_upload_is_checked(hub, api):
    repo = hub.create("models", "alice/chunked")
    path = f"/upload/models/alice/chunked/{'0' * 64}"
    url = hub.storage_url(path)
    answer = get_session().put(url, content=iter([b"abc", b"def"]), timeout=10)
    assert answer.status_code == 400 and "sha256" in answer.text
    assert hub.log.matching("PUT")[0].received == 6 and not repo.uploaded


def test_racing_commits_conflict(hub, api):
    """The second commit finishes while the first is still received, so the first has an outdated parent."""
    hub.create("models", "alice/race", {"a.txt": b"a"})
    hub.faults.add("POST", "/commit/", "stall", after_bytes=1, seconds=30)
    answers: list[object] = []

    def first() -> None:
        try:
            api.upload_file(path_or_fileobj=b"1", path_in_repo="1.txt", repo_id="alice/race")
        except HfHubHTTPError as error:
            answers.append(error.response.status_code)

    thread = threading.Thread(target=first)
    thread.start()
    while hub.log.bytes_received("POST", "/commit/") == 0:
        time.sleep(0.01)
    api.upload_file(path_or_fileobj=b"2", path_in_repo="2.txt", repo_id="alice/race")
    hub.faults.clear()
    thread.join(timeout=30)
    assert answers == [412]
    assert hub.repo("models", "alice/race").paths() == ["2.txt", "a.txt"]
    with pytest.raises(HfHubHTTPError, match="412"):
        operations = [CommitOperationAdd("3.txt", b"3")]
        api.create_commit("alice/race", operations, commit_message="late", parent_commit="0" * 40)


class TestFaults:
    """Each kind of fault behaves as documented in hub_faults.Faults."""

    @pytest.fixture
    def url(self, hub) -> str:
        hub.create("models", "alice/faults", {"x.txt": b"0123456789"})
        return f"{hub.endpoint}/alice/faults/resolve/main/x.txt"

    @staticmethod
    def get(url: str) -> httpx2.Response:
        return get_session().get(url, timeout=10)

    def test_status(self, hub, url):
        hub.faults.add("GET", r"/x\.txt$", "503", skip=1, times=2)
        assert [self.get(url).status_code for _ in range(4)] == [200, 503, 503, 200]
        assert [request.status for request in hub.log.matching("GET", "x.txt")] == [200, 503, 503, 200]

    def test_drop_after(self, hub, url):
        hub.faults.add("GET", "x.txt", "drop_after", after_bytes=4)
        received = b""
        with pytest.raises(httpx2.RemoteProtocolError), get_session().stream("GET", url, timeout=10) as answer:
            for chunk in answer.iter_raw():
                received += chunk
        assert received == b"0123" and hub.log.bytes_sent("GET", "x.txt") == 4
        assert self.get(url).status_code == 200

    def test_drop_after_in_an_upload(self, hub):
        repo = hub.create("models", "alice/dropped")
        path = f"/upload/models/alice/dropped/{'0' * 64}"
        hub.faults.add("PUT", path, "drop_after", after_bytes=1000)
        with pytest.raises(httpx2.TransportError):
            get_session().put(hub.storage_url(path), content=bytes(5_000_000), timeout=10)
        assert hub.log.bytes_received("PUT") == 1000 and not repo.uploaded

    def test_reset(self, hub, url):
        hub.faults.add("GET", "x.txt", "reset")
        with pytest.raises(httpx2.ReadError, match="reset"):
            self.get(url)

    def test_stall(self, hub, url):
        hub.faults.add("GET", "x.txt", "stall", seconds=60)
        with pytest.raises(httpx2.ReadTimeout):
            get_session().get(url, timeout=0.2)
        hub.faults.add("GET", "x.txt", "stall", seconds=0.1)
        assert self.get(url).content == b"0123456789"

    def test_lost_answer(self, hub, api):
        hub.create("models", "alice/lost")
        hub.faults.add("POST", "/commit/", "lost_answer")
        with pytest.raises(httpx2.RemoteProtocolError):
            api.upload_file(path_or_fileobj=b"x", path_in_repo="x.txt", repo_id="alice/lost")
        assert hub.repo("models", "alice/lost").paths() == ["x.txt"]  # the commit was made nevertheless

    def test_unknown_kind(self, hub):
        with pytest.raises(ValueError, match="drop_after"):
            hub.faults.add("GET", ".*", "explode")


def test_it_can_run_in_a_separate_process(tmp_path):
    server = Path(__file__).with_name("hub_server.py")
    process = subprocess.Popen([sys.executable, server, tmp_path], stdin=-1, stdout=-1, text=True)
    try:
        started = json.loads(process.stdout.readline())
        api = HfApi(endpoint=started["endpoint"], token=started["tokens"]["alice"])
        assert api.whoami()["name"] == "alice"
    finally:
        process.communicate(timeout=10)
    assert process.returncode == 0

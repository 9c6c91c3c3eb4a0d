"""Publish a feature dataset, or recordings as a dataset, on the Hub.

    hf-audio push features feature_sets/mine USER/mine-fbank
    hf-audio push features feature_sets/irmas USER/irmas-fbank --private
    hf-audio push features feature_sets/irmas irmas-fbank --public_license "CC BY-NC-SA 3.0"
    hf-audio push recordings --data_dir DIR --hub_dataset_id USER/NAME --license cc-by-4.0
    hf-audio push recordings --corpus esc50 --data_dir DIR --hub_dataset_id USER/esc50 --hub_private_repo
    hf-audio push recordings --data_dir table.csv --hub_dataset_id USER/NAME --audio_format original
    hf-audio push recordings --data_dir DIR --output_dir dataset        # on this machine only

Log in first with `hf auth login`. To resume an interrupted push, run the same command again: files that are already on
the Hub are not uploaded again. Trained models are published by their recipe, with --push_to_hub. For the flags, see
`hf-audio push features --help` and `hf-audio push recordings --help`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import hf_audio
from hf_audio.commands._parser import parser_of
from hf_audio.errors import unknown_name
from hf_audio.terminal import show

FEATURES = """Publish a feature dataset that was built with hf-audio build.

    hf-audio push features feature_sets/mine USER/mine-fbank
    hf-audio push features feature_sets/irmas USER/irmas-fbank --private
    hf-audio push features feature_sets/irmas irmas-fbank --public_license "CC BY-NC-SA 3.0"

If the license of a corpus forbids redistribution, push to a private repository, or name the license to publish anyway;
with several corpora, such as negatives, name each such license. Only the files of the dataset are pushed; other files
in the folder are listed and stay on this machine.
"""
SHOWN_FIRST = (
    *("corpus", "data_dir", "dataset", "label_overrides", "hub_dataset_id", "hub_private_repo", "public_license"),
    *("license", "audio_format", "output_dir", "num_workers", "strict", "hub_token"),
)
RECORDINGS = """Publish recordings as a dataset, with labels, groups, splits and metadata; resumable.

    hf-audio push recordings --data_dir DIR --hub_dataset_id USER/NAME --license cc-by-4.0
    hf-audio push recordings --corpus esc50 --data_dir DIR --hub_dataset_id USER/esc50 --hub_private_repo
    hf-audio push recordings --data_dir table.csv --hub_dataset_id USER/NAME --audio_format original
    hf-audio push recordings --data_dir DIR --output_dir dataset        # on this machine only
    hf-audio push recordings --dataset USER/OLD --label_overrides better.csv --hub_dataset_id USER/NEW

Integer recordings are compressed to FLAC without loss, excerpts are cut out, and all other files stay unchanged.
Unusable recordings are listed with the reason in excluded.csv; with --strict they are an error. Each shard of about
200 MB is deleted here after its upload, unless --output_dir is given. Train on the result with --dataset USER/NAME.
"""


def main(argv: Sequence[str]) -> None:
    """Publishes features or recordings."""
    if not argv or argv[0] in ("-h", "--help"):
        sys.stdout.write(__doc__)
        return
    if argv[0] not in KINDS:
        raise unknown_name("kind of data to push", argv[0], KINDS)
    KINDS[argv[0]](argv[1:])


def push_features(argv: Sequence[str]) -> None:
    """Publishes a folder of features."""
    parser = parser_of("push features", FEATURES)
    parser.add_argument("folder", help="Folder of the feature dataset.")
    parser.add_argument("repo_id", help="Hub name: NAME or USER/NAME.")
    parser.add_argument("--private", action="store_true", default=None, help="Make a new repository private.")
    parser.add_argument(
        "--public_license",
        nargs="+",
        help="Publish although the corpus's license forbids redistribution: repeat the exact license.",
    )
    parser.add_argument("--token", help="Hub token with write permission. Default: HF_TOKEN, or that of hf auth login.")
    given = vars(parser.parse_args(argv))
    show(hf_audio.push_features(given.pop("folder"), given.pop("repo_id"), **given))


def push_recordings(argv: Sequence[str]) -> None:
    """Publishes recordings, or writes the dataset to a folder."""
    kinds = (hf_audio.CorpusConfig, hf_audio.ShareConfig)
    settings = hf_audio.parse_settings(
        *kinds, values={}, doc=RECORDINGS, argv=list(argv), program="hf-audio push recordings", shown=SHOWN_FIRST
    )
    show(hf_audio.share_corpus(*settings))


KINDS = {"features": push_features, "recordings": push_recordings}

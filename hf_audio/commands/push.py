"""Publish a feature dataset, or recordings as a dataset, on the Hub.

    hf-audio push features feature_sets/mine USER/mine-fbank
    hf-audio push features feature_sets/irmas USER/irmas-fbank --private
    hf-audio push features feature_sets/irmas irmas-fbank --public_license "CC BY-NC-SA 3.0"
    hf-audio push recordings --data_dir DIR --hub_dataset_id USER/NAME --license cc-by-4.0
    hf-audio push recordings --corpus esc50 --data_dir DIR --hub_dataset_id USER/esc50 --hub_private_repo
    hf-audio push recordings --data_dir table.csv --hub_dataset_id USER/NAME --audio_format original
    hf-audio push recordings --data_dir DIR --output_dir dataset        # on this machine only

Log in first with `hf auth login`. A push that broke off is repeated by the same command: what the Hub has already is
not uploaded again. Trained models are published by their recipe, with --push_to_hub. `hf-audio push features --help`
and `hf-audio push recordings --help` have the flags.
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

A corpus whose license forbids redistribution goes to a private repository, or in public only where its license is
named; of several corpora, such as negatives, each that forbids it. Only what was built there is pushed: what else lies
in the folder stays, and is named.
"""
SHOWN_FIRST = (
    *("corpus", "data_dir", "dataset", "label_overrides", "hub_dataset_id", "hub_private_repo", "public_license"),
    *("license", "audio_format", "output_dir", "num_workers", "strict", "hub_token"),
)
RECORDINGS = """Publish recordings as a dataset, with labels, groups, splits and metadata; resumed where it stopped.

    hf-audio push recordings --data_dir DIR --hub_dataset_id USER/NAME --license cc-by-4.0
    hf-audio push recordings --corpus esc50 --data_dir DIR --hub_dataset_id USER/esc50 --hub_private_repo
    hf-audio push recordings --data_dir table.csv --hub_dataset_id USER/NAME --audio_format original
    hf-audio push recordings --data_dir DIR --output_dir dataset        # on this machine only
    hf-audio push recordings --dataset USER/OLD --label_overrides better.csv --hub_dataset_id USER/NEW

Integer recordings are compressed to FLAC without loss, excerpts are cut out, all other files stay as they are. What
cannot be used is listed with the reason in excluded.csv; --strict makes it an error. Each shard of about 200 MB is
deleted here once it is on the Hub, unless --output_dir keeps it. Train on the result with --dataset USER/NAME.
"""


def main(argv: Sequence[str]) -> None:
    """Publishes one of KINDS."""
    if not argv or argv[0] in ("-h", "--help"):
        sys.stdout.write(__doc__)
        return
    if argv[0] not in KINDS:
        raise unknown_name("thing to push", argv[0], KINDS)
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
        help="Publish although the corpus's license forbids redistribution: repeat that license, word for word.",
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

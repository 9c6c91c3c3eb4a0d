"""Publish a feature dataset that was built with scripts/build_features.py.

    python scripts/push_features.py feature_sets/mine USER/mine-fbank
    python scripts/push_features.py feature_sets/irmas USER/irmas-fbank --private
    python scripts/push_features.py feature_sets/irmas irmas-fbank --public_licence "CC BY-NC-SA 3.0"

Log in first with `hf auth login`. A corpus whose licence forbids redistribution goes to a private repository, or in
public only where its licence is named; of several corpora, such as negatives, each that forbids it. A push that broke
off is repeated by the same command: what the Hub has already is not uploaded again. Only what was built there is
pushed: what else lies in the folder stays, and is named.
"""

import argparse

import hf_audio
from hf_audio.terminal import show


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="the feature dataset")
    parser.add_argument("repo_id", help="where it goes: name, or user/name")
    parser.add_argument("--private", action="store_true", default=None, help="make a new repository private")
    parser.add_argument(
        "--public_licence", nargs="+", help="the corpus's licence, to publish it although it forbids others to"
    )
    parser.add_argument("--token", help="Hub token with write permission; default: HF_TOKEN or that of hf auth login")
    given = vars(parser.parse_args())
    show(hf_audio.push_features(given.pop("folder"), given.pop("repo_id"), **given))


if __name__ == "__main__":
    with hf_audio.clear_errors():
        main()

"""Recordings to a dataset on the Hub, with labels, groups, splits and metadata. Can be interrupted and resumed.

    python scripts/push_corpus.py --data_dir DIR --hub_dataset_id USER/NAME --licence cc-by-4.0
    python scripts/push_corpus.py --corpus esc50 --data_dir DIR --hub_dataset_id USER/esc50 --hub_private_repo
    python scripts/push_corpus.py --data_dir table.csv --hub_dataset_id USER/NAME --audio_format original
    python scripts/push_corpus.py --data_dir DIR --output_dir dataset        # on this machine only
    python scripts/push_corpus.py --dataset USER/OLD --label_overrides better.csv --hub_dataset_id USER/NEW

Recordings of whole numbers become FLAC without loss, stretches are cut, all others stay as they are. What cannot be
used is listed with the reason in excluded.csv; --strict makes it an error. Each file of about 200 MB is removed from
this machine once it is on the Hub, unless --output_dir keeps it. Train on the result with --dataset USER/NAME.
"""

import hf_audio
from hf_audio.terminal import show


def main() -> None:
    settings = hf_audio.parse_settings(hf_audio.CorpusConfig, hf_audio.ShareConfig, values={}, doc=__doc__)
    show(hf_audio.share_corpus(*settings))


if __name__ == "__main__":
    with hf_audio.clear_errors():
        main()

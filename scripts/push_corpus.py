"""Runs `hf-audio push recordings` as a script: python scripts/push_corpus.py --help"""

import sys

from hf_audio.commands.main import main

if __name__ == "__main__":
    main(["push", "recordings", *sys.argv[1:]])

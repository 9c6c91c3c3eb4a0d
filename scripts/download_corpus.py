"""Runs `hf-audio corpora` as a script: python scripts/download_corpus.py --help"""

import sys

from hf_audio.commands.main import main

if __name__ == "__main__":
    main(["corpora", *sys.argv[1:]])

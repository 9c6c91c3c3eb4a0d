"""Runs `hf-audio label-errors` as a script: python scripts/find_label_errors.py --help"""

import sys

from hf_audio.commands.main import main

if __name__ == "__main__":
    main(["label-errors", *sys.argv[1:]])

"""Runs `hf-audio push features` as a script: python scripts/push_features.py --help"""

import sys

from hf_audio.commands.main import main

if __name__ == "__main__":
    main(["push", "features", *sys.argv[1:]])

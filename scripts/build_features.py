"""Runs `hf-audio build` as a script: python scripts/build_features.py --help"""

import sys

from hf_audio.commands.main import main

if __name__ == "__main__":
    main(["build", *sys.argv[1:]])

"""Runs `hf-audio evaluate` as a script: python scripts/evaluate_model.py --help"""

import sys

from hf_audio.commands.main import main

if __name__ == "__main__":
    main(["evaluate", *sys.argv[1:]])

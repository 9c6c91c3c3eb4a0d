"""Runs `hf-audio audit` as a script: python scripts/audit_corpus.py --help"""

import sys

from hf_audio.commands.main import main

if __name__ == "__main__":
    main(["audit", *sys.argv[1:]])

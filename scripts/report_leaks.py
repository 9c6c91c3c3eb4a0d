"""Runs `hf-audio leaks` as a script: python scripts/report_leaks.py --help"""

import sys

from hf_audio.commands.main import main

if __name__ == "__main__":
    main(["leaks", *sys.argv[1:]])

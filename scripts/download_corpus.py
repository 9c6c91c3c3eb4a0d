"""`hf-audio corpora` as a file, for those who run scripts: python scripts/download_corpus.py --help"""

import sys

from hf_audio.commands.main import main

if __name__ == "__main__":
    main(["corpora", *sys.argv[1:]])

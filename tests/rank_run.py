"""One of two processes whose group times out after 2 s while the first one works longer: a target for torchrun.

python tests/rank_run.py CORPUS FEATURES
"""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import PartialState
from tone_corpus import build
from torch.distributed.distributed_c10d import _set_pg_timeout

import hf_audio.data.building.build as building
from hf_audio.ranks import main_process_first, told_by_main, wait_for_everyone

TIMEOUT_S = 2


def main() -> None:
    state = PartialState(cpu=True)
    assert state.num_processes == 2
    _set_pg_timeout(timedelta(seconds=TIMEOUT_S))  # only now: processes may start at different times
    assert told_by_main(lambda: state.process_index) == 0
    with main_process_first(state):
        if state.is_main_process:
            time.sleep(2 * TIMEOUT_S)
    measured = building.measured_by_headers

    def slowly_measured(*arguments, **options):
        time.sleep(2 * TIMEOUT_S)
        return measured(*arguments, **options)

    building.measured_by_headers = slowly_measured
    build(Path(sys.argv[1]), Path(sys.argv[2]), ranks=building.Ranks(state.process_index, 2, wait_for_everyone))
    state.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()

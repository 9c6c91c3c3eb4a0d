"""training_run.py under DeepSpeed on the CPU: a target for accelerate launch.

DeepSpeed would compile an operator for communication within a machine, which takes minutes; here it works without it.
"""

from __future__ import annotations

import deepspeed.ops
import torch
from training_run import main

if __name__ == "__main__":
    torch.set_num_threads(1)
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    main()

#!/bin/bash
# Checks that need a GPU, in under 8 minutes on one GPU; without one, the same steps run on the CPU with small sizes:
#   scripts/check_gpu.sh
#   PYTHON=.venv/bin/python scripts/check_gpu.sh
#
# 1 the tests that need a GPU: kernels and dtype of recurrent layers, a finished bf16 run that is started again,
#   workers switched off
# 2 AST-base in bf16: clips per second, and the share of the GPU's matrix rate, for batches of 32, 128 and 256, eager and
#   compiled
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python}
export PYTHONPATH=$PWD TOKENIZERS_PARALLELISM=false
started=$SECONDS

if "$python" -c "import sys, torch; sys.exit(not torch.cuda.is_available())"; then
    "$python" -c "import torch; print(torch.cuda.get_device_name(), 'torch', torch.__version__)"
    timeout 180 "$python" -m pytest -q -m gpu tests
    timeout 280 "$python" scripts/benchmark_training.py --device cuda --bf16 --share --steps 10 --repeats 1
else
    echo "No GPU found: running the same steps on the CPU with small sizes"
    timeout 180 "$python" -m pytest -q tests/test_on_gpu.py
    timeout 280 "$python" scripts/benchmark_training.py --device cpu --model ast-mini --share 2 4 --steps 2 --repeats 1
fi
echo "check_gpu.sh took $((SECONDS - started)) s"

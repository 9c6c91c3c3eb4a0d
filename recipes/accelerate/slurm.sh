#!/bin/bash
# Train on several SLURM nodes: sbatch recipes/accelerate/slurm.sh recipes/ast_irmas.py --dataset USER/irmas-fbank
# Adapt the lines below to your cluster; the recipe needs no changes.
#SBATCH --job-name=hf_audio
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=04:00:00
#SBATCH --output=runs/slurm-%j.log
#SBATCH --requeue
#SBATCH --signal=TERM@60

set -euo pipefail
source .venv/bin/activate

gpus_per_node=${SLURM_GPUS_ON_NODE:-8}
main_host=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

# Checkpoints are complete or ignored, so a requeued job resumes from the last one.
srun --kill-on-bad-exit=1 bash -c "accelerate launch \
    --config_file recipes/accelerate/multi_node.yaml \
    --num_machines $SLURM_NNODES --num_processes $((SLURM_NNODES * gpus_per_node)) --machine_rank \$SLURM_NODEID \
    --main_process_ip $main_host --main_process_port 29500 $(printf '%q ' "$@")"

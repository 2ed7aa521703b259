#!/bin/bash
# Trains candidates for BabyAI's actors: $OUT/babyai_checkpoints.tar.gz and $OUT/log.txt.
export PYTHONPATH=$PWD OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1 LIMIT=${LIMIT:-212}
timeout 220 python3 device_train.py 2> "$OUT/stderr.txt"; tail -c 3000 "$OUT/stderr.txt"

#!/usr/bin/env bash
# Train a small English model (MEDIUM, 13.5 M parameters) on six hours of speech, in less than 25 minutes on one GPU.
# The stages take less than ten minutes each and resume when repeated, so a GPU machine that is available for short
# periods and has no network will do.
#
#   locally   run_english_model.sh pack DATA PARCEL      pack the recordings of DATA (a folder of 'wav2vec2 prepare')
#                                                        into tar files of less than 60 MB
#   on GPU    run_english_model.sh smoke PARCEL RUN      pre-train for a minute, to see the speed and whether it learns
#   on GPU    run_english_model.sh pretrain PARCEL RUN   nine minutes at most; repeat it until it prints "pretrained"
#   on GPU    run_english_model.sh finetune PARCEL RUN   nine minutes at most; with and without pre-training, in parallel
#   on GPU    run_english_model.sh results RUN PIECES    write logs and bf16 weights in pieces of less than 16 MiB
#   locally   run_english_model.sh collect PIECES OUT    join the pieces to model directories, ready to tune and evaluate
#
# Environment variables:
#   LABELS      list of the utterance ids whose transcripts may be used (default: all of train)
#   RECIPE      pretrain_medium (default), or pretrain_medium_mfcc if the loss stays at chance in the smoke run
#   SIZE        fine-tuning recipe: 6h (default), 1h or 10min
#   SCRATCH_LR  learning rate from scratch (default 1e-3, chosen on dev from 3e-4 and 1e-3)
#   MINUTES     limit of each training (default 9)
#   PRETRAIN, FINETUNE  further overrides, such as "--train.updates 20 --model.architecture tiny" to rehearse on a CPU
set -euo pipefail

stage=${1:?stage: pack, smoke, pretrain, finetune, results or collect} from=${2:?source folder} to=${3:?target folder}
recipes=$(cd "$(dirname "$0")" && pwd)
minutes=${MINUTES:-9} recipe=${RECIPE:-pretrain_medium} size=${SIZE:-6h} labels=${LABELS:-} scratch_lr=${SCRATCH_LR:-1e-3}
shape=()                        # the model from scratch has the shape of the pre-trained one
[[ $recipe == *_mfcc ]] && shape=(--model.layer-norm-first True)
read -ra pretrain <<<"${PRETRAIN:-}"
read -ra finetune <<<"${FINETUNE:-}"

pretraining() {
    wav2vec2 pretrain "$recipes/$recipe.toml" --data.manifest "$from" --data.split train --data.hold-out 60 \
        ${labels:+--data.hold-out-avoid "$labels"} "$@"
}

finetuning() {
    wav2vec2 finetune "$recipes/finetune_medium_$size.toml" --data.manifest "$from" --data.split train \
        --data.validation-split dev ${labels:+--data.labels "$labels"} --train.max-minutes "$minutes" "$@"
}

arms() {
    mkdir -p "$to"
    finetuning --init "$to/pretrain/model" --output "$to/pretrained" "${finetune[@]}" >"$to/pretrained.txt" 2>&1 &
    local first=$! failed=0
    finetuning --init scratch --output "$to/scratch" --train.lr "$scratch_lr" --freeze.share 0 \
        --regularization.feature-grad-mult 1 "${shape[@]}" "${finetune[@]}" >"$to/scratch.txt" 2>&1 &
    local second=$!
    wait "$first" || failed=1
    wait "$second" || failed=1
    tail -n 5 "$to/pretrained.txt" "$to/scratch.txt"
    return $failed
}

pieces() {
    local run
    mkdir -p "$to"
    for run in pretrain pretrained scratch; do
        [ -d "$from/$run/model" ] || continue
        wav2vec2 convert "$from/$run/model" "$from/$run/bf16" --dtype bfloat16
        cp "$from/$run/log.jsonl" "$from/$run/bf16/"
        tar cf - -C "$from/$run/bf16" . | split -b 15M - "$to/$run.tar."
    done
    (cd "$to" && sha256sum ./*.tar.* >SHA256SUMS)
    ls -l "$to"
}

join() {
    local run
    (cd "$from" && sha256sum --check --quiet SHA256SUMS)
    for run in pretrain pretrained scratch; do
        compgen -G "$from/$run.tar.*" >/dev/null || continue
        mkdir -p "$to/$run"
        cat "$from/$run".tar.* | tar xf - -C "$to/$run"
        wav2vec2 info "$to/$run"
    done
}

case $stage in
    pack) wav2vec2 prepare shards "$from" --out "$to" --split train+dev --shard-mb 50 ;;
    smoke) pretraining --output "$to/smoke" --train.max-minutes 1 "${pretrain[@]}" ;;
    pretrain)
        pretraining --output "$to/pretrain" --train.max-minutes "$minutes" "${pretrain[@]}"
        if tail -n 1 "$to/pretrain/log.jsonl" | grep -q '"reason": "done"'; then echo pretrained; fi
        ;;
    finetune) arms ;;
    results) pieces ;;
    collect) join ;;
    *) echo "$stage: no such stage; choose pack, smoke, pretrain, finetune, results or collect" >&2 && exit 2 ;;
esac

#!/usr/bin/env bash
# A small English model (MEDIUM, 13.5 M parameters) from six hours of speech, for one accelerator and less than 25 minutes of it.
# Cut into stages of less than ten minutes, so that a machine that is lent for short whiles, without a network, will do.
# Each stage goes on where the same stage was stopped.
#
#   here    run_english_model.sh pack DATA PARCEL       recordings of DATA (a folder of 'wav2vec2 prepare') as tar files under 60 MB
#   there   run_english_model.sh smoke PARCEL RUN       a minute of pre-training: does it learn, how fast is it
#   there   run_english_model.sh pretrain PARCEL RUN    nine minutes at most; call it again until it prints "pretrained"
#   there   run_english_model.sh finetune PARCEL RUN    nine minutes at most: with and without pre-training, side by side
#   there   run_english_model.sh results RUN PIECES     logs and bf16 weights in pieces under 16 MiB
#   here    run_english_model.sh collect PIECES OUT     model directories again; then tune and evaluate them as any other
#
# Settings, by environment: LABELS (a list of utterance ids that may be read with their transcripts; empty: all of train),
# RECIPE (pretrain_medium; pretrain_medium_mfcc where that is at chance after the smoke run), SIZE (6h, 1h or 10min: the
# fine-tuning recipe), SCRATCH_LR (from scratch: chosen on dev from 3e-4 and 1e-3), MINUTES,
# PRETRAIN and FINETUNE (more overrides, e.g. "--train.updates 20 --model.architecture tiny" to rehearse on a CPU).
set -euo pipefail

stage=${1:?a stage: pack, smoke, pretrain, finetune, results or collect} from=${2:?where from} to=${3:?where to}
recipes=$(cd "$(dirname "$0")" && pwd)
minutes=${MINUTES:-9} recipe=${RECIPE:-pretrain_medium} size=${SIZE:-6h} labels=${LABELS:-} scratch_lr=${SCRATCH_LR:-1e-3}
shape=()                        # of the model from scratch: that of the pre-trained one
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
    *) echo "no stage '$stage'" >&2 && exit 2 ;;
esac

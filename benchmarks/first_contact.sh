#!/usr/bin/env bash
# Everything that a machine with a CUDA device can show, within eight minutes: tests, parity, curves,
# epochs, recipes and exact resumption. Each part has a limit of its own, so that one that fails or
# hangs costs only itself; logs and JSON files are left in one folder.
#
#   benchmarks/first_contact.sh FOLDER [DEVICE]
#
# DEVICE is cuda, or cpu to rehearse with shorter runs. What the machine lacks may lie in .whl/ as
# wheels, and MNIST in .mnist/; neither is needed where it is there already.
set -uo pipefail
cd "$(dirname "$0")/.."

folder="${1:?usage: benchmarks/first_contact.sh FOLDER [DEVICE]}"
device="${2:-cuda}"
mkdir -p "$folder" && folder="$(cd "$folder" && pwd)"
[ -d .mnist ] && export MNIST_ROOT="${MNIST_ROOT:-$PWD/.mnist}"
if compgen -G ".whl/*.whl" >/dev/null; then
  python3 -m pip install -q --no-index --no-deps --no-compile --upgrade --target /tmp/first-contact .whl/*.whl
  export PYTHONPATH="/tmp/first-contact${PYTHONPATH:+:$PYTHONPATH}"
fi
data=mnist short=() epochs=(--rounds 2) seeds=5 many=30
[ "$device" = cpu ] && data=digits short=(trainer.epochs=2) epochs=(--rounds 1 --images 500) seeds=2 many=2
deadline=470

# part NAME SECONDS COMMAND…: run a command under a limit, keep what it prints, say how it ended.
part() {
  local name="$1" seconds="$2" started=$SECONDS status=0 left=$((deadline - SECONDS))
  shift 2
  [ "$left" -gt 0 ] || left=1
  [ "$seconds" -lt "$left" ] || seconds=$left
  timeout --kill-after=5 "$seconds" "$@" >"$folder/$name.log" 2>&1 || status=$?
  printf '%-20s status %3d  %3d s\n' "$name" "$status" $((SECONDS - started)) | tee -a "$folder/parts.txt"
}

# train NAME SECONDS SETTING…: train into a folder of its own, one run or a sweep, and keep its records.
train() {
  local name="$1" seconds="$2" place file kept
  shift 2
  place="$(mktemp -d)"
  part "$name" "$seconds" python3 train.py "data=$data" "hydra.run.dir=$place/run" "hydra.sweep.dir=$place/sweep" \
    "$@" "${short[@]}"
  for file in "$place"/run/{summary.json,metrics.csv} "$place"/sweep/*/summary.json; do
    kept="${file#"$place"/}"
    [ -f "$file" ] && cp "$file" "$folder/$name-${kept//\//-}"
  done
}

# resume_exactly: kill -9 a deterministic run, go on with it, and compare it with the plain run.
resume_exactly() {
  local base settings
  base="$(mktemp -d)"
  settings=(data=digits "device=$device" backend.deterministic=true model=lenet5_bn
    trainer.epochs=6 "trainer.checkpoint_every=5 steps")
  python3 train.py "${settings[@]}" "hydra.run.dir=$base/whole" || return 1
  python3 train.py "${settings[@]}" "hydra.run.dir=$base/part" &
  until [ -f "$base/part/checkpoint.safetensors.previous" ]; do sleep 0.05; done
  kill -9 $!
  python3 train.py "resume=$base/part" || return 1
  cmp "$base/whole/weights.safetensors" "$base/part/weights.safetensors" && echo "bit for bit"
}
export -f resume_exactly
export device

date -u >"$folder/parts.txt"
part machine 20 python3 -c "import hydra, torch, torchvision, numpy, platform
print(platform.python_version(), platform.platform(), hydra.__file__)
print(torch.__version__, torchvision.__version__, numpy.__version__, torch.version.cuda)
print(torch.cuda.get_device_name() if torch.cuda.is_available() else 'no CUDA device')"
part driver 5 nvidia-smi
part pytest 90 python3 -m pytest -q -m cuda
for recipe in r1_lenet5_tanh r0_lenet5_relu r2_deepcnn21; do
  part "epoch-$recipe" 90 python3 -m benchmarks.epoch --device "$device" --recipe "$recipe" \
    --json "$folder/epoch-$recipe.json" "${epochs[@]}"
done
part resume 60 bash -c resume_exactly
for model in lenet5_tanh lenet5_relu deepcnn21; do
  train "$model-torch" 15 "model=$model" backend=torch "device=$device" trainer.epochs=2
  train "$model-numpy" 25 "model=$model" backend=numpy trainer.epochs=2
done
train r1 60 study=seeds experiment=r1_lenet5_tanh backend=torch "device=$device" "seed=range($seeds)"
train r1-reading 60 study=seeds experiment=r1_lenet5_tanh backend=torch "device=$device" "seed=range($seeds)" \
  optimizer.lr=1e-4
train ninety-nine 60 study=seeds experiment=ninety_nine backend=torch "device=$device" "seed=range($many)"
cat "$folder/parts.txt"

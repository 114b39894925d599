#!/usr/bin/env bash
# From THUMOS14's archives to the paper's Tables 1 to 6 (docs/thumos14.md).
#
#   launch/thumos14.sh STEP...     the steps named, in this order
#   launch/thumos14.sh all         all of them
#
# Every step goes on where it was stopped, and does nothing when it is done.
# Settings, as variables of the environment:
#   THUMOS14            folder of the archives, and of everything made: THUMOS14
#   THUMOS14_PASSWORD   of the test videos' archive, from the challenge's form
#   UCF101              folder of UCF-101, one folder a class (step ucf101 only)
#   SHARD               i/n: the i-th of n parts of the step features
#   ALLOW_DAMAGE        1: damaged videos are read as far as they go
#   PYTHON              python
set -euo pipefail

data=${THUMOS14:-THUMOS14}
python=${PYTHON:-python}
runs=$data/runs
labels=$data/thumos14.json
allow=--allow_damage=${ALLOW_DAMAGE:-0}

fail() {
  echo "error: $*" >&2
  exit 1
}

need() {
  [ -e "$1" ] || fail "$1 is missing: $2"
}

# Names of the videos that have annotations; the other test videos stay packed.
annotated() {
  find "$data/annotations" -name "*_$1.txt" -exec cut -d ' ' -f 1 {} + |
    sort -u
}

unpack_videos() { # archive, val or test, expected number, options of unzip
  local archive=$1 part=$2 expected=$3 name missing=() found
  shift 3
  for name in $(annotated "$part"); do
    [ -e "$data/videos/$name.mp4" ] || missing+=("$name")
  done
  if [ ${#missing[@]} -gt 0 ]; then
    need "$archive" 'download it first'
    # A folder of its own until a file is whole: a stopped step leaves no halves.
    mkdir -p "$data/videos" "$data/unpacking"
    for name in "${missing[@]}"; do
      unzip -q -o -j "$@" "$archive" "*$name.mp4" -d "$data/unpacking" ||
        fail "$name.mp4 could not be unpacked from $archive"
      mv "$data/unpacking/$name.mp4" "$data/videos/$name.mp4"
    done
  fi
  found=$(annotated "$part" | wc -l)
  echo "$part: $found videos with annotations ($expected expected)"
}

# 1. Annotations and the videos that have some.
unpack() {
  local archive
  command -v unzip > /dev/null || fail 'unzip is not installed'
  for archive in TH14_Temporal_annotations_validation.zip \
    TH14_Temporal_annotations_test.zip; do
    if ! [ -e "$data/annotations/$archive.done" ]; then
      need "$data/$archive" 'download it first'
      mkdir -p "$data/annotations"
      unzip -q -o -j "$data/$archive" '*.txt' -d "$data/annotations"
      touch "$data/annotations/$archive.done"
    fi
  done
  unpack_videos "$data/TH14_validation_set_mp4.zip" val 200
  unpack_videos "$data/TH14_Test_set_mp4.zip" test 213 \
    -P "${THUMOS14_PASSWORD:-}"
}

# 2. One JSON file of both subsets.
annotations() {
  [ -e "$labels" ] && return
  need "$data/videos" 'run the step unpack'
  "$python" -m launch.convert_annotations --source="$data/annotations" \
    --format=thumos14 --durations="$data/videos" --output="$labels" "$allow"
}

convert() { # file, backbone, output
  [ -e "$data/weights/$3/weights.json" ] && return
  need "$data/$1" 'download it first (docs/extractors.md says where from)'
  "$python" -m launch.convert_weights --source="$data/$1" --backbone="$2" \
    --output="$data/weights/$3"
}

# 3. The weights of both rows.
weights() {
  convert activitynet_iter_30000_3fps.caffemodel c3d c3d
  convert resnet200_anet_2016.caffemodel resnet rgb
  convert bn_inception_anet_2016_temporal.caffemodel.v5 bn_inception flow
}

# 4. Two-stream features of both subsets. The long step: optical flow.
features() {
  need "$data/weights/flow" 'run the step weights'
  "$python" -m launch.extract_features \
    --config=configs/features_two_stream.py \
    --config.features.spatial.weights="$data/weights/rgb" \
    --config.features.temporal.weights="$data/weights/flow" \
    --config.features.rgb_frame=first \
    --input="$data/videos" --output="$data/two_stream" \
    --shard="${SHARD:-0/1}" "$allow"
}

table() { # number, config, folder of its runs, flags of launch.ablate
  local number=$1 config=$2 folder=$3
  shift 3
  [ -e "$runs/$folder/table_$number.md" ] && return
  need "$labels" 'run the step annotations'
  "$python" -m launch.ablate --table="$number" --config="configs/$config.py" \
    --workdir="$runs/$folder" --subset=testing --protocol=thumos \
    --ans=50,100,200 --config.data.annotations="$labels" \
    --config.data.holdout=0 "$allow" "$@"
}

video_table() { # number, config, folder of its runs, weights
  need "$data/weights/$4" 'run the step weights, or ucf101'
  # All runs read the same kept frames.
  table "$1" "$2" "$3" --config.data.videos="$data/videos" \
    --config.data.frames_cache="$data/frames" \
    --config.extractor.weights="$data/weights/$4"
}

c3d_table() { # number
  video_table "$1" thumos14_c3d c3d c3d
}

two_stream_table() { # number
  need "$data/two_stream" 'run the step features'
  table "$1" thumos14_two_stream two_stream \
    --config.data.features="$data/two_stream"
}

# 5. to 10. The tables. Rows that differ in inference alone share a run.
table1() { c3d_table 1; }
table2() { two_stream_table 1; }
table3() {
  # The row ActivityNet is Table 1's.
  video_table 1 thumos14_c3d_ucf101 c3d_ucf101 c3d_ucf101
}
table4() {
  c3d_table 4
  two_stream_table 4
}
table5() { c3d_table 5; }
table6() { c3d_table 6; }

# 11. C3D learns UCF-101, for Table 3 (before table3).
ucf101() {
  [ -e "$data/weights/c3d_ucf101/weights.json" ] &&
    [ -e "$runs/ucf101/done" ] && return
  need "${UCF101:-UCF-101}" 'set UCF101 to the folder of UCF-101'
  "$python" -m launch.pretrain --config=configs/pretrain_ucf101.py \
    --workdir="$runs/ucf101" --output="$data/weights/c3d_ucf101" \
    --config.data.folder="${UCF101:-UCF-101}" "$allow"
  touch "$runs/ucf101/done"
}

# 12. All tables that are there.
show() {
  local file
  for file in "$runs"/*/table_*.md; do
    [ -e "$file" ] || fail "no table yet below $runs"
    echo "$file"
    cat "$file"
  done
}

steps=(unpack annotations weights features table1 table2 table4 table5 table6
  ucf101 table3 show)

[ $# -gt 0 ] || fail "name steps: ${steps[*]}, or all"
[ "$*" = all ] && set -- "${steps[@]}"
for step in "$@"; do
  case " ${steps[*]} " in
    *" $step "*) ;;
    *) fail "no step $step; there are: ${steps[*]}" ;;
  esac
done
for step in "$@"; do
  echo "== $step"
  "$step"
done

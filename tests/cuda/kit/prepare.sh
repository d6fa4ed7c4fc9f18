#!/usr/bin/env bash
# Run on a machine with a network, in the project's root: downloads the wheels that the CUDA machine lacks to .gpu/wheels.
#   bash tests/cuda/kit/prepare.sh
#   WITH_AV=1 bash tests/cuda/kit/prepare.sh    # PyAV too (34 MiB): only for file sources and recording
set -eu
[ -f pyproject.toml ] && [ -d lcm_daemon ] || { echo "prepare.sh: run it in the project's root"; exit 1; }
exclude=$(git rev-parse --git-path info/exclude)
mkdir -p "$(dirname "$exclude")"
grep -qxF '/.gpu/' "$exclude" 2>/dev/null || echo '/.gpu/' >> "$exclude"

mkdir -p .gpu/wheels

# diffusers 0.42 needs huggingface_hub 1.32 to 2 and safetensors 0.8; the CUDA machine has 1.33 and 0.8.0.
packages="diffusers==0.42.1 importlib-metadata==8.7.1 simplejpeg==1.9.0 python-osc==1.10.2 mido==1.3.3
          starlette==1.10.0 uvicorn==0.54.0 websockets==17.4 pytest-xdist==3.8.0 execnet==2.1.2 hypothesis==6.170.17
          sortedcontainers==2.4.0"
[ -z "${WITH_AV:-}" ] || packages="$packages av==18.1.0"
platforms=""
for n in 2_34 2_31 2_28 2_27 2_24 2_17; do platforms="$platforms --platform manylinux_${n}_x86_64"; done
platforms="$platforms --platform manylinux2014_x86_64 --platform manylinux1_x86_64"
kept=$(mktemp -d)
# shellcheck disable=SC2086
python3 -m pip download -q --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.12 \
    --implementation cp $platforms -d "$kept" $packages 2>"$kept/err" \
    || { echo "a wheel is missing:"; grep -v WARNING "$kept/err" | tail -5; exit 1; }
rm -f "$kept/err" .gpu/wheels/*.whl
mv "$kept"/*.whl .gpu/wheels/
rmdir "$kept"

# An earlier run may have left results.
rm -rf .gpu/out .gpu/work
carried=$(du -sm .gpu | cut -f1)
tree=$(git ls-files -co --exclude-standard -z | xargs -0 -r du -cm 2>/dev/null | awk '/total$/ {s += $1} END {print s}')
ls -l .gpu/wheels
echo ".gpu: $carried MiB; the project's own files: about $tree MiB; together they have to stay below 64"
[ $((carried + tree)) -lt 62 ] || { echo "too large"; exit 1; }

# Check that the wheels and the CUDA machine's packages together meet every requirement.
python3 - <<'PY'
import email, glob, re, sys, tomllib, zipfile
has = {"accelerate": "1.15.0", "huggingface-hub": "1.33.0", "numpy": "2.5.2", "safetensors": "0.8.0", "torch": "2.11.0",
       "transformers": "5.17.0", "tokenizers": "0.23.2", **dict.fromkeys(
    "anyio click filelock h11 idna packaging peft pillow psutil pytest pyyaml regex requests tqdm typing-extensions zipp".split(), "")}
def key(text): return re.sub(r"[-_.]+", "-", text).lower()
def numbers(text): return [int(n) for n in re.findall(r"\d+", text)][:3]
wants = []
for wheel in glob.glob(".gpu/wheels/*.whl"):
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        about = email.message_from_bytes(archive.read(name))
    has[key(about["Name"])] = about["Version"]
    wants += [(about["Name"], line) for line in about.get_all("Requires-Dist", []) if "extra" not in line]
wants += [("lcm-daemon", line) for line in tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"]]
bad = 0
for who, line in wants:
    line, _, marker = line.partition(";")
    if "python_version <" in marker.replace("'", '"') and "3.13" not in marker:
        continue
    name = key(re.match(r"[A-Za-z0-9_.-]+", line.strip())[0])
    if name not in has:
        print(f"  {who} needs {line.strip()}: not known to be installed"); bad += name != "av"
    for sign, version in re.findall(r"(>=|<=|==|<|>)\s*([0-9.]+)", line):
        mine = numbers(has.get(name, ""))
        if mine and not {">=": mine >= numbers(version), "<": mine < numbers(version), "<=": mine <= numbers(version),
                         "==": mine == numbers(version), ">": mine > numbers(version)}[sign]:
            print(f"  {who} needs {line.strip()}, installed is {has[name]}"); bad += 1
print("versions: " + ("fine" if not bad else f"{bad} to look at"))
PY

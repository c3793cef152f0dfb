#!/bin/sh
# usage: tools/install.sh PYTHON REQUIREMENTS
# On Linux, PyPI's torch brings gigabytes of CUDA. Without an NVIDIA GPU the CPU build is installed first, and then
# already satisfies the requirements. Versions ending in "+cpu" are never on PyPI: they come from PyTorch's own index
# or from the user's pip settings (find-links), so a failure stops here instead of falling back to CUDA.
set -eu
python=$1 requirements=$2
cpu_index=https://download.pytorch.org/whl/cpu

pip() { "$python" -m pip --disable-pip-version-check "$@"; }
has_nvidia_gpu() { [ -e /proc/driver/nvidia/version ] || nvidia-smi -L >/dev/null 2>&1; }

if [ "$(uname)" = Linux ] && ! has_nvidia_gpu; then
    torch=$(grep '^torch==' requirements.txt)+cpu
    # One short retry: an index that cannot be reached costs seconds, and pip then looks in the other places.
    pip install --no-deps --retries 1 --timeout 15 --extra-index-url "$cpu_index" "$torch"
fi
pip install -r "$requirements"

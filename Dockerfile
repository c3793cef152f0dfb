ARG PYTHON_IMAGE=python:3.11-slim-bookworm
# Empty unless local wheels are given, as an image or with --build-context wheels=FOLDER.
ARG WHEELS=scratch

FROM ${WHEELS} AS wheels

FROM ${PYTHON_IMAGE} AS build
ARG TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu
# requirements-cluster.lock for an image that can be any part of a cluster.
ARG REQUIREMENTS=requirements.lock
COPY ${REQUIREMENTS} /requirements.lock
# The lock names torch+cpu, which PyPI does not have, so no index can lead to a CUDA build.
RUN --mount=type=bind,from=wheels,target=/wheels \
    python3.11 -m venv --without-pip /opt/venv \
    && python3.11 -m pip --python /opt/venv/bin/python install \
        --no-cache-dir --no-compile --only-binary :all: --require-hashes --find-links /wheels \
        ${TORCH_INDEX_URL:+--extra-index-url "$TORCH_INDEX_URL"} -r /requirements.lock
# Headers, tests and tools; importing torch needs torch_shm_manager.
WORKDIR /opt/venv/lib/python3.11/site-packages
RUN rm -rf torch/include torch/test pandas/tests pyarrow/include pyarrow/tests \
    && find torch/bin -type f ! -name torch_shm_manager -delete

FROM ${PYTHON_IMAGE}
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    OMP_NUM_THREADS=1 \
    # Dask's own command is not run from here, and its workers need the program.
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    STREAMLIT_SERVER_ADDRESS=0.0.0.0 \
    STREAMLIT_SERVER_PORT=8501
RUN useradd --uid 1000 --home-dir /tmp --no-create-home app
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
COPY . .
# The server answers its health check even if torch cannot be loaded, so that is tried here.
# Run as root, this also leaves the bytecode of the imported modules for faster starts.
RUN python -c "import torch, ui.pages.laboratory, iwae_lab.engines.worker; torch.ones(2, requires_grad=True).exp().sum().backward()"
USER 1000
EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD ["python", "-c", "import os, urllib.request as r; r.build_opener(r.ProxyHandler({})).open('http://127.0.0.1:' + os.environ['STREAMLIT_SERVER_PORT'] + '/_stcore/health', timeout=4)"]
CMD ["streamlit", "run", "app.py"]

# Tocsin's worker, command line and example service: a virtual environment, the rules and the examples.

FROM python:3.11-slim AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_NO_CACHE=1 \
    UV_PYTHON_DOWNLOADS=never \
    VIRTUAL_ENV=/opt/tocsin

RUN pip install "uv>=0.8,<1" && uv venv "$VIRTUAL_ENV"

WORKDIR /src

# What it depends on changes less often than what it is: a layer of its own.
COPY pyproject.toml requirements.lock ./
RUN uv pip install --constraint requirements.lock --requirement pyproject.toml --extra worker

COPY README.md LICENSE ./
COPY producers producers
COPY pipeline pipeline
COPY consumers consumers
RUN uv build --wheel --build-constraint requirements.lock --out-dir dist \
    && uv pip install --no-deps dist/*.whl


FROM python:3.11-slim

# The root file system may be read-only; bytecode was compiled above.
ENV PATH=/opt/tocsin/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

RUN groupadd --gid 10001 tocsin \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /app --shell /usr/sbin/nologin tocsin

COPY --from=build /opt/tocsin /opt/tocsin

WORKDIR /app
COPY rules rules
COPY examples examples

USER 10001:10001
EXPOSE 9600
STOPSIGNAL SIGTERM

HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:9600/healthz', timeout=3)"]

# No entry point, so that `tocsin …` and `python examples/…` run in the image as they do outside it.
CMD ["python", "-m", "pipeline.consumer"]

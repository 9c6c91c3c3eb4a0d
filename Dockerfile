# A service that tags recordings; 6 GB, most of it torch with its CUDA libraries, which run on CPUs too.
#
#   docker build --tag hf_audio .
#   docker run --publish 8000:8000 --volume "$PWD/runs:/models:ro" --env HF_AUDIO_SERVE_TOKEN hf_audio \
#     --model /models/cnn_folder
#
# It writes nothing but the Hub's cache: with models of a folder, --read-only --tmpfs /tmp works.
# `docker stop --time 40` gives it the time to finish its requests.
FROM python:3.12-slim

RUN useradd --uid 10001 --create-home hf_audio
WORKDIR /src
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY hf_audio hf_audio
RUN pip install --no-cache-dir ".[serve,av,timm,classical]" && rm -rf /src/*

USER 10001
WORKDIR /home/hf_audio
ENV PYTHONUNBUFFERED=1 HF_HUB_DISABLE_TELEMETRY=1 NUMBA_CACHE_DIR=/tmp/numba
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=10s --start-period=180s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/ready', timeout=8)"]
ENTRYPOINT ["hf-audio", "serve", "--host", "0.0.0.0", "--port", "8000"]
CMD ["--help"]

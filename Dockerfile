# A Docker Space, or any machine with Docker: docker build -t trimviz . && docker run -p 7860:7860 trimviz
# As a Space, set `sdk: docker` and `app_port: 7860` in README.md. Nothing here needs a GPU; torch uses one where it finds it.
# --build-arg PIP_EXTRA_INDEX_URL=<PyTorch's CPU index> makes the image some gigabytes smaller.
FROM python:3.11-slim

RUN useradd --create-home --uid 1000 user
USER user
ENV HOME=/home/user \
    PATH=/home/user/.local/bin:$PATH \
    HF_HOME=/home/user/.cache/huggingface \
    PIP_NO_CACHE_DIR=1 \
    PYTHONUNBUFFERED=1 \
    GRADIO_ANALYTICS_ENABLED=False \
    GRADIO_SERVER_NAME=0.0.0.0 \
    GRADIO_SERVER_PORT=7860
WORKDIR /home/user/app

ARG PIP_EXTRA_INDEX_URL
COPY --chown=user requirements.txt constraints.txt ./
RUN pip install --user --constraint constraints.txt torch \
    && pip install --user --constraint constraints.txt --requirement requirements.txt

COPY --chown=user . .

EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/', timeout=4)"]
CMD ["python", "app.py"]

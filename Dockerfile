# Freelabels with Ray, for one machine and for the cluster of kuberay.yaml:
#   docker build -t freelabels:0.1.0 .
#   docker run --rm --shm-size 4g -v "$PWD:/data" freelabels:0.1.0 label photos --out labels
# With --user "$(id -u):$(id -g)" what it writes is yours. A GPU needs --gpus all and NVIDIA's container toolkit.
FROM python:3.11-slim-bookworm

# What no wheel carries: the libraries that open3d loads when it is imported (as in the Makefile), and wget, which the
# probes of older versions of KubeRay call.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libusb-1.0-0 libgl1 libegl1 libgomp1 libx11-6 wget \
    && rm -rf /var/lib/apt/lists/*

# Everything goes into the image's own Python, not a virtual environment: KubeRay starts Ray in a login shell, which
# sets PATH anew.
WORKDIR /opt/freelabels

# The libraries first, so that a change of the program doesn't install them again.
ARG EXTRAS="s3 gcs"
COPY pyproject.toml constraints.txt ./
RUN python -c "import sys, tomllib; \
project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
extras = [line for name in sys.argv[1:] for line in project['optional-dependencies'][name]]; \
print(*project['dependencies'], *extras, sep='\n')" $EXTRAS > requirements.txt \
    && pip install --no-cache-dir --constraint constraints.txt --requirement requirements.txt

COPY . .
RUN pip install --no-cache-dir --no-deps . \
    && cd / && rm -rf /opt/freelabels \
    && python -c "import cv2, open3d, pybullet, torch" && freelabels --help > /dev/null

# A home that any user may write to, because Ray and the cache of meshes need one and --user may name anybody.
RUN useradd --create-home --uid 1000 freelabels && chmod 1777 /home/freelabels \
    && mkdir /data && chown freelabels /data
ENV HOME=/home/freelabels RAY_USAGE_STATS_ENABLED=0
USER freelabels
WORKDIR /data
ENTRYPOINT ["freelabels"]
CMD ["--help"]

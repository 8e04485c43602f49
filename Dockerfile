# The image of agent and controller: Node, the agent as plain JavaScript, its addon. docs/image.md says how to build it.
# BASE needs glibc and libstdc++ of Debian 12 or newer, and nothing else. BUILD needs npm, a C++ compiler and Python.
ARG BASE=debian:12-slim
ARG BUILD=node:22-bookworm

FROM ${BUILD} AS layout
ARG SOURCE_DATE_EPOCH=0
WORKDIR /weft
COPY . .
RUN npm ci && node native/build.mjs && node_modules/.bin/node image/layout.ts /layout

FROM ${BASE}
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="weft" \
      org.opencontainers.image.description="A sidecar-less service mesh for Kubernetes: agent and controller" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
# What changes least comes first: a new version of the agent is its last layer.
COPY --from=layout /layout/runtime/ /
COPY --from=layout /layout/weft/ /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# An agent has to be root, with three capabilities (docs/capabilities.md). The controller runs as any user.
USER 0:0
WORKDIR /
ENTRYPOINT ["/usr/bin/weft"]

# syntax=docker/dockerfile:1

# The bot alone: no sandbox, no tests. `docker build -t pangeo-bot .`
# For releases pin both images by digest: `docker buildx imagetools inspect rust:1.95-slim-bookworm`.
FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
# SQL is checked against .sqlx, so the build needs no database.
ENV SQLX_OFFLINE=true CARGO_TARGET_DIR=/build
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build \
    cargo build --release --locked --package pangeo-bot --bin pangeo-bot \
    && install -D --strip /build/release/pangeo-bot /out/pangeo-bot
# The image has no commands that Discord would refuse.
RUN ["/out/pangeo-bot", "check"]

FROM debian:bookworm-slim
# ssh reaches the front ends; tini collects the processes that ssh leaves behind.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends openssh-client tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home --home-dir /var/lib/pangeo-bot pangeo-bot
COPY --from=build /out/pangeo-bot /usr/local/bin/pangeo-bot
USER 10001:10001
WORKDIR /var/lib/pangeo-bot
ENV PANGEO_BOT_WEB_LISTEN=0.0.0.0:8080 PANGEO_BOT_LOG_FORMAT=json
EXPOSE 8080
# Alive is enough here: a bot without its database waits for it and must not be killed.
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 CMD ["pangeo-bot", "health"]
ENTRYPOINT ["tini", "--", "pangeo-bot"]
CMD ["serve"]

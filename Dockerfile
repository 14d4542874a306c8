ARG DENO_VERSION=2.9.6

# This stage makes the bundle; nothing else of it reaches the image. Packages are
# installed exactly as locked, and again only if deno.json or deno.lock change.
FROM denoland/deno:${DENO_VERSION} AS build
WORKDIR /app
COPY deno.json deno.lock ./
RUN deno ci
COPY main.ts ./
COPY lib lib
COPY routes routes
COPY static static
COPY tools tools
RUN deno run -A --cached-only tools/bundle.ts /bundle

FROM denoland/deno:${DENO_VERSION}
WORKDIR /app
# Everything in /app belongs to root, so that the server cannot change itself.
COPY --from=build /bundle ./
USER deno
# Deno keeps what it learned from the file, which saves 0.2 s of CPU time at start.
RUN ["deno", "cache", "main.js"]

# A container has to listen beyond loopback. Roomcast therefore refuses to start
# in it unless PUBLISH_KEYS or OPEN=true is set.
ENV HOST=0.0.0.0 DENO_NO_UPDATE_CHECK=1
EXPOSE 4000

# /livez and not /readyz: while Redis is unreachable no node is ready, and
# restarting all nodes would only disconnect every client. The check fails for
# every status other than 2xx.
HEALTHCHECK --interval=10s --timeout=5s --start-period=15s --retries=3 \
  CMD ["deno", "eval", "--no-config", "--no-lock", "const r = await fetch(`http://127.0.0.1:${Deno.env.get('INTERNAL_PORT') || Deno.env.get('PORT') || 4000}/livez`, { signal: AbortSignal.timeout(4000) }); Deno.exit(r.ok ? 0 : 1)"]

# The command of `deno task start` with main.js; .ci/container checks that both are
# the same. What the server may do is in deno.json, under "permissions".
CMD ["run", "-q", "-P", "--v8-flags=--no-allocation-site-pretenuring", "--cached-only", "--no-prompt", "main.js"]

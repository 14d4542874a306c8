ARG DENO_VERSION=2.9.6

# This stage installs the packages. It is rebuilt only if deno.json or deno.lock
# change, and its caches do not reach the image. It installs all packages exactly
# as locked, removes those that only the tests use, and checks that nothing else
# was installed.
FROM denoland/deno:${DENO_VERSION} AS packages
WORKDIR /app
COPY deno.json deno.lock ./
RUN deno ci \
  && deno remove --frozen=false fast-check playwright-core socket.io-client \
  && deno install --frozen --cached-only

FROM denoland/deno:${DENO_VERSION}
WORKDIR /app
COPY --from=packages /app ./
COPY main.ts ./
COPY lib lib
COPY routes routes
COPY static static

# Everything in /app belongs to root, so that the server cannot change itself.
USER deno
# If a module is missing, the build fails instead of the deployment.
RUN ["deno", "cache", "--frozen", "main.ts"]

# A container has to listen beyond loopback. Roomcast therefore refuses to start
# in it unless PUBLISH_KEYS or OPEN=true is set.
ENV HOST=0.0.0.0 DENO_NO_UPDATE_CHECK=1
EXPOSE 4000

# /livez and not /readyz: while Redis is unreachable no node is ready, and
# restarting all nodes would only disconnect every client. The check fails for
# every status other than 2xx.
HEALTHCHECK --interval=10s --timeout=5s --start-period=15s --retries=3 \
  CMD ["deno", "eval", "--no-config", "--no-lock", "const r = await fetch(`http://127.0.0.1:${Deno.env.get('PORT') || 4000}/livez`, { signal: AbortSignal.timeout(4000) }); Deno.exit(r.ok ? 0 : 1)"]

# The command of `deno task start`; .ci/container checks that both are the same.
# What the server may do is in deno.json, under "permissions".
CMD ["run", "-q", "-P", "--v8-flags=--no-allocation-site-pretenuring", "--cached-only", "--no-prompt", "main.ts"]

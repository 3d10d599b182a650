/**
 * Registers an instance and keeps its lease until Ctrl-C.
 *
 *     npm ci && npm run build
 *     npm run provider -- --node http://127.0.0.1:7800 --service orders --id a --host 10.0.0.7 --port 8080
 */
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

const { values: options } = parseArgs({
  options: {
    node: { type: "string", default: "http://127.0.0.1:7800" },
    service: { type: "string" },
    id: { type: "string" },
    host: { type: "string" },
    port: { type: "string" },
    "ttl-ms": { type: "string", default: "15000" },
  },
});
const { service, id, host, port } = options;
if (!service || !id || !host || !port) throw new Error("--service, --id, --host and --port are needed");

const ttl = Number(options["ttl-ms"]);
const url = `${options.node}/v1/namespaces/default/services/${encodeURIComponent(service)}/instances/${encodeURIComponent(id)}`;
const stop = new AbortController();
/** Names this life of the instance: with it, nothing said here ever harms a successor. */
let generation: string | undefined;

async function call(method: string, path: string, body?: unknown): Promise<Response> {
  return fetch(url + path, {
    method,
    body: body === undefined ? undefined : JSON.stringify(body),
    headers: body === undefined ? {} : { "content-type": "application/json" },
    signal: AbortSignal.timeout(ttl / 6),
  });
}

async function register(): Promise<void> {
  const answer = await call("PUT", "", {
    host,
    port: Number(port),
    metadata: { language: "node" },
    lease: { kind: "ttl", ttl_ms: ttl, remove_after_ms: 2 * ttl },
  });
  if (!answer.ok) throw new Error(`register: ${answer.status} ${await answer.text()}`);
  generation = ((await answer.json()) as { generation: string }).generation;
  console.log(`registered ${service}/${id} generation ${generation}`);
}

async function renew(): Promise<void> {
  const answer = await call("POST", `/renew?generation=${generation}`);
  await answer.arrayBuffer();
  if (answer.status === 404 || answer.status === 412) return register(); // removed, or somebody took its place
  if (!answer.ok) throw new Error(`renew: ${answer.status}`);
}

for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort());

let failures = 0;
while (!stop.signal.aborted) {
  try {
    await (generation ? renew() : register());
    failures = 0;
  } catch (error) {
    failures += 1;
    console.log(`${error}; trying again`);
  }
  // A third of the TTL leaves room for two attempts to fail; after a failure sooner, and never in step.
  const pause = failures === 0 ? ttl / 3 : Math.min(100 * 2 ** failures, ttl / 3) * (0.5 + Math.random() / 2);
  await sleep(pause, undefined, { signal: stop.signal }).catch(() => undefined);
}
if (generation) {
  try {
    const answer = await call("DELETE", `?generation=${generation}`);
    // 404 and 412: nothing of ours is left there.
    if (!answer.ok && answer.status !== 404 && answer.status !== 412) throw new Error(`deregister: ${answer.status}`);
    console.log(`deregistered ${service}/${id}`);
  } catch (error) {
    console.log(`${error}; the node removes ${service}/${id} when its lease is over`);
  }
}

/**
 * Watches a service: prints each change, and the set that it leads to.
 *
 *     npm ci && npm run build
 *     npm run consumer -- --node http://127.0.0.1:7800 --service orders
 */
import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

interface Instance {
  id: string;
  revision: string;
  healthy: boolean;
  isolated: boolean;
  health_reason: string | null;
}
interface Data {
  items?: Instance[];
  put?: Instance[];
  removed?: { id: string; reason: string | null }[];
  digest?: string;
}
interface Event {
  id?: string;
  event?: string;
  data: Data;
}

const { values: options } = parseArgs({
  options: { node: { type: "string", default: "http://127.0.0.1:7800" }, service: { type: "string" } },
});
if (!options.service) throw new Error("--service is needed");
const url = `${options.node}/v1/namespaces/default/services/${encodeURIComponent(options.service)}/watch`;

/** The events of one connection, behind `last` if that is given. */
async function* events(last: string | undefined): AsyncGenerator<Event> {
  const silence = new AbortController();
  // An event comes at least every 10 s, so silence means that the connection is dead.
  let timer = setTimeout(() => silence.abort(new Error("silence")), 25_000);
  try {
    const answer = await fetch(url, { headers: last ? { "last-event-id": last } : {}, signal: silence.signal });
    if (!answer.ok || !answer.body) throw new Error(`watch: ${answer.status} ${await answer.text()}`);
    let text = "";
    for await (const chunk of answer.body.pipeThrough(new TextDecoderStream())) {
      timer.refresh();
      text += chunk;
      for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
        const fields = new Map<string, string>();
        for (const line of text.slice(0, end).split("\n")) {
          const colon = line.indexOf(":");
          fields.set(line.slice(0, colon), line.slice(colon + 1).replace(/^ /, ""));
        }
        text = text.slice(end + 2);
        const data = fields.get("data");
        if (data) yield { id: fields.get("id"), event: fields.get("event"), data: JSON.parse(data) as Data };
      }
    }
  } finally {
    clearTimeout(timer);
  }
}

const instances = new Map<string, Instance>();

/** The proof that a list is whole, as the node computes it: a sum of hashes, modulo 2^128. */
function digest(): string {
  let total = 0n;
  for (const { id, revision } of instances.values()) {
    total += BigInt("0x" + createHash("sha256").update(`${id}\n${revision}`).digest("hex").slice(0, 32));
  }
  return (total % (1n << 128n)).toString(16).padStart(32, "0");
}

function describe(): string {
  const usable = [...instances.values()].filter((i) => i.healthy && !i.isolated).map((i) => i.id);
  return usable.sort().join(" ") || "nobody";
}

function take({ event, data }: Event): void {
  if (event === "snapshot") {
    instances.clear();
    for (const instance of data.items ?? []) instances.set(instance.id, instance);
    console.log(`snapshot ${describe()}`);
  } else if (event === "change") {
    for (const instance of data.put ?? []) {
      instances.set(instance.id, instance);
      console.log(`put ${instance.id} ${instance.healthy ? "healthy" : instance.health_reason}`);
    }
    for (const { id, reason } of data.removed ?? []) {
      instances.delete(id);
      console.log(`removed ${id} ${reason}`);
    }
    console.log(`now ${describe()}`);
  } else {
    return;
  }
  if (data.digest !== digest()) throw new Error("the digest differs");
}

let last: string | undefined;
for (let failures = 0; ; failures += 1) {
  try {
    for await (const event of events(last)) {
      take(event);
      last = event.id ?? last;
      failures = 0;
    }
  } catch (error) {
    if (String(error).includes("digest")) last = undefined; // what was seen is not whole: ask for everything
    console.log(`${error}; connecting again`);
  }
  await sleep(Math.min(100 * 2 ** failures, 5_000) * (0.5 + Math.random() / 2));
}

"use strict";

// Shows /openapi.json and lets each operation be tried. Everything is built from nodes and text, never from markup.

const METHODS = ["get", "put", "post", "patch", "delete"];
const STREAM_LINES_MAX = 400;

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value !== undefined && value !== null && value !== false) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== undefined && child !== null));
  return made;
}

function resolve(reference, shape) {
  if (!shape || !shape.$ref) return shape || {};
  return shape.$ref.split("/").slice(1).reduce((at, key) => (at || {})[key], reference) || {};
}

function typeOf(shape) {
  if (shape.$ref) return shape.$ref.split("/").pop();
  if (shape.oneOf || shape.anyOf) return (shape.oneOf || shape.anyOf).map(typeOf).join(" or ");
  if (shape.contentSchema) return `${typeOf(shape.contentSchema)} as JSON`;
  const type = Array.isArray(shape.type) ? shape.type.join(" or ") : shape.type || "any";
  return type === "array" ? `list of ${typeOf(shape.items || {})}` : type;
}

function limitsOf(shape) {
  const words = [];
  if (shape.enum) words.push(shape.enum.map((value) => JSON.stringify(value)).join(", "));
  if (shape.minimum !== undefined || shape.maximum !== undefined) {
    words.push(`${shape.minimum ?? ""} to ${shape.maximum ?? ""}`);
  }
  if (shape.minLength) words.push(`at least ${shape.minLength} long`);
  if (shape.maxLength) words.push(`at most ${shape.maxLength} long`);
  if (shape.minItems || shape.maxItems) words.push(`${shape.minItems ?? 0} to ${shape.maxItems ?? "any"} items`);
  if (shape.maxProperties) words.push(`at most ${shape.maxProperties} keys`);
  if (shape.pattern) words.push(`pattern ${shape.pattern}`);
  if (shape.format) words.push(shape.format);
  if (shape.default !== undefined) words.push(`default ${JSON.stringify(shape.default)}`);
  return words.join("; ");
}

function row(name, required, shape, description) {
  return element("tr", {},
    element("td", {}, element("code", {}, name), required ? element("span", { class: "bad" }, " *") : ""),
    element("td", {}, typeOf(shape)),
    element("td", { class: "quiet" }, [description || shape.description, limitsOf(shape)].filter(Boolean).join(". ")));
}

function table(rows) {
  return element("table", {}, element("tbody", {}, ...rows));
}

function shapeView(reference, shape, depth) {
  const whole = resolve(reference, shape);
  if (whole.oneOf) {
    return element("div", {}, ...whole.oneOf.map((one) => shapeView(reference, one, depth)));
  }
  if (whole.type === "array") return shapeView(reference, whole.items || {}, depth);
  const rows = [];
  for (const [name, property] of Object.entries(whole.properties || {})) {
    rows.push(row(name, (whole.required || []).includes(name), property));
    const inner = property.$ref || (property.items || {}).$ref;
    if (inner && depth > 0) {
      const nested = element("details", {}, element("summary", {}, inner.split("/").pop()),
        shapeView(reference, { $ref: inner }, depth - 1));
      rows.push(element("tr", {}, element("td", { colspan: 3 }, nested)));
    }
  }
  if (rows.length === 0) return element("p", { class: "quiet" }, typeOf(whole));
  return table(rows);
}

function bodyOf(reference, operation) {
  const content = ((operation.requestBody || {}).content || {})["application/json"];
  if (!content) return undefined;
  let shape = content.schema || {};
  if (shape.oneOf) shape = shape.oneOf.find((one) => one.$ref) || shape;
  return shape;
}

function exampleOf(reference, shape, depth = 4) {
  const whole = resolve(reference, shape);
  if (whole.examples && whole.examples.length) return whole.examples[0];
  if (whole.default !== undefined) return whole.default;
  if (whole.enum) return whole.enum[0];
  if (whole.oneOf) return exampleOf(reference, whole.oneOf[0], depth - 1);
  const type = Array.isArray(whole.type) ? whole.type[0] : whole.type;
  if (type === "array") return depth > 0 ? [exampleOf(reference, whole.items || {}, depth - 1)] : [];
  if (type === "object") {
    const example = {};
    for (const name of whole.required || []) {
      example[name] = depth > 0 ? exampleOf(reference, whole.properties[name], depth - 1) : null;
    }
    return example;
  }
  if (type === "integer" || type === "number") return whole.minimum || 0;
  return type === "boolean" ? true : "";
}

function field(parameter) {
  const shape = parameter.schema || {};
  if (shape.enum || shape.type === "boolean") {
    const values = shape.enum || [true, false];
    return element("select", { name: parameter.name }, element("option", { value: "" }, ""),
      ...values.map((value) => element("option", { value: String(value) }, String(value))));
  }
  const example = parameter.in === "path" ? (shape.examples || [""])[0] : "";
  const hint = parameter.name === "metadata" ? "metadata.team=payments&metadata.tier=1" : shape.default ?? "";
  return element("input", { name: parameter.name, value: example, placeholder: hint, autocomplete: "off" });
}

function addressOf(path, parameters, form) {
  const query = [];
  const headers = {};
  let address = path;
  for (const parameter of parameters) {
    const value = form.elements[parameter.name].value;
    if (parameter.in === "path") address = address.replace(`{${parameter.name}}`, encodeURIComponent(value));
    else if (value === "") continue;
    else if (parameter.name === "metadata") query.push(value);
    else if (parameter.in === "query") query.push(`${encodeURIComponent(parameter.name)}=${encodeURIComponent(value)}`);
    else headers[parameter.name] = value;
  }
  return { address: query.length ? `${address}?${query.join("&")}` : address, headers };
}

async function readStream(response, show, signal) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  signal.addEventListener("abort", () => reader.cancel().catch(() => {}));
  let lines = [];
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    lines = lines.concat(value.split("\n")).slice(-STREAM_LINES_MAX);
    show(lines.join("\n"));
  }
}

async function tryIt(method, path, parameters, form, output, stop) {
  const { address, headers } = addressOf(path, parameters, form);
  const token = document.getElementById("token").value;
  if (token) headers.authorization = `Bearer ${token}`;
  const body = form.elements.body && form.elements.body.value.trim() ? form.elements.body.value : undefined;
  if (body !== undefined) headers["content-type"] = "application/json";
  output.textContent = `${method.toUpperCase()} ${address}\n`;
  try {
    const response = await fetch(address, { method: method.toUpperCase(), headers, body, signal: stop.signal });
    const shown = ["etag", "x-thuban-revision", "x-thuban-overlay", "retry-after", "content-type"]
      .filter((name) => response.headers.has(name)).map((name) => `${name}: ${response.headers.get(name)}\n`);
    const head = `${output.textContent}${response.status} ${response.statusText}\n${shown.join("")}\n`;
    if ((response.headers.get("content-type") || "").startsWith("text/event-stream")) {
      await readStream(response, (text) => { output.textContent = head + text; }, stop.signal);
      return;
    }
    const text = await response.text();
    let pretty = text;
    try { pretty = JSON.stringify(JSON.parse(text), null, 2); } catch { /* not JSON: shown as it is */ }
    output.textContent = head + pretty;
  } catch (error) {
    output.textContent += error.name === "AbortError" ? "stopped" : `no answer: ${error.message}`;
  }
}

function tryForm(reference, method, path, parameters, operation) {
  const body = bodyOf(reference, operation);
  const output = element("pre", { "aria-live": "polite" });
  const form = element("form", {}, ...parameters.map((parameter) =>
    element("label", {}, element("span", {}, parameter.name, parameter.required ? " *" : ""), field(parameter))));
  if (body) {
    const text = element("textarea", { name: "body", spellcheck: "false" });
    text.value = JSON.stringify(exampleOf(reference, body), null, 2);
    form.append(element("label", {}, element("span", {}, "body"), text));
  }
  let stop = new AbortController();
  const end = element("button", { type: "button" }, "Stop");
  end.addEventListener("click", () => stop.abort());
  form.append(element("div", {}, element("button", { type: "submit" }, "Send"), " ", end));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    stop.abort();
    stop = new AbortController();
    tryIt(method, path, parameters, form, output, stop);
  });
  return element("details", {}, element("summary", {}, "Try it"), form, output);
}

function answers(reference, operation) {
  return Object.entries(operation.responses || {}).map(([status, response]) => {
    const content = Object.entries(response.content || {})[0];
    const shape = content && content[1].schema;
    const view = shape && shape.$ref && !shape.$ref.endsWith("/Problem")
      ? element("details", {}, element("summary", {}, typeOf(shape)), shapeView(reference, shape, 3)) : "";
    return element("tr", {}, element("td", {}, element("code", {}, status)),
      element("td", {}, response.description || "", " ", element("span", { class: "quiet" }, content ? content[0] : ""),
        view));
  });
}

function operationView(reference, path, method, operation) {
  const parameters = (operation.parameters || []).map((parameter) => resolve(reference, parameter));
  const body = bodyOf(reference, operation);
  const parts = [
    element("h3", { class: "path" }, element("span", { class: "method" }, method.toUpperCase()), path),
    element("p", {}, operation.summary || "", " ", element("span", { class: "quiet" }, operation.description || "")),
  ];
  if (parameters.length) {
    parts.push(element("h4", {}, "Parameters"), table(parameters.map((parameter) =>
      row(`${parameter.name} (${parameter.in})`, parameter.required, parameter.schema || {}, parameter.description))));
  }
  if (body) parts.push(element("h4", {}, "Body"), shapeView(reference, body, 3));
  parts.push(element("h4", {}, "Answers"), table(answers(reference, operation)));
  parts.push(tryForm(reference, method, path, parameters, operation));
  return element("section", { class: "operation", id: operation.operationId }, ...parts);
}

function operationsOf(reference) {
  const all = [];
  for (const [path, item] of Object.entries(reference.paths)) {
    for (const method of METHODS) {
      if (item[method]) all.push({ path, method, operation: item[method], tag: (item[method].tags || [""])[0] });
    }
  }
  return all;
}

function show(reference) {
  const main = document.getElementById("reference");
  const nav = document.getElementById("routes");
  const operations = operationsOf(reference);
  main.replaceChildren(element("h1", {}, `${reference.info.title} ${reference.info.version}`),
    ...(reference.info.description || "").split("\n\n").map((text) => element("p", {}, text)));
  for (const tag of reference.tags || []) {
    const own = operations.filter((one) => one.tag === tag.name);
    if (own.length === 0) continue;
    nav.append(element("strong", {}, tag.name), ...own.map((one) => element("a", { href: `#${one.operation.operationId}` },
      element("span", { class: "method" }, one.method.toUpperCase()), one.operation.summary || one.path)));
    main.append(element("h2", { id: `tag-${tag.name}` }, tag.name), element("p", { class: "quiet" }, tag.description || ""),
      ...own.map((one) => operationView(reference, one.path, one.method, one.operation)));
  }
  const shapes = Object.keys((reference.components || {}).schemas || {});
  main.append(element("h2", {}, "Shapes"), ...shapes.map((name) => element("details", {}, element("summary", {}, name),
    shapeView(reference, { $ref: `#/components/schemas/${name}` }, 1))));
  document.getElementById("find").addEventListener("input", (event) => find(event.target.value.toLowerCase()));
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

function find(wanted) {
  for (const section of document.querySelectorAll("section.operation")) {
    const text = section.querySelector("h3").textContent + section.querySelector("p").textContent;
    section.hidden = !text.toLowerCase().includes(wanted);
  }
}

fetch("/openapi.json").then((response) => response.json()).then(show).catch((error) => {
  document.getElementById("reference").replaceChildren(
    element("p", { class: "bad" }, `The reference could not be loaded: ${error.message}`));
});

// Discord's markdown as nodes: blocks first, then what stands inside a line.
// Everything ends as a text node; a link is made only for http and https.

import { clock, day, el, hexColour, link, readable, withEmoji } from "./dom.js";
import { codeBlock } from "./highlight.js";
import { channelTitle, store } from "./store.js";

const MAX_DEPTH = 8;
const FENCE = /```(?:([\w+#.-]{1,20})\n)?([\s\S]+?)```/g;

/** A whole text: code blocks, headings, lists, quotes and lines. */
export function markdown(text) {
  const nodes = [];
  let end = 0;
  for (const found of text.matchAll(FENCE)) {
    nodes.push(...blocks(text.slice(end, found.index)));
    nodes.push(codeBlock(found[1]?.toLowerCase(), found[2].replace(/^\n/, "")));
    end = found.index + found[0].length;
  }
  nodes.push(...blocks(text.slice(end)));
  return nodes;
}

/** Lines outside of code blocks. */
function blocks(text) {
  const nodes = [];
  const lines = text.replace(/^\n|\n$/g, "").split("\n");
  if (lines.length === 1 && lines[0] === "") return nodes;
  let plain = [];
  const flush = () => {
    if (plain.length) nodes.push(el("p", null, inline(plain.join("\n"))));
    plain = [];
  };
  for (let at = 0; at < lines.length; at += 1) {
    const line = lines[at];
    const heading = /^(#{1,3}) +(\S.*)/.exec(line);
    const small = /^-# +(\S.*)/.exec(line);
    if (heading) {
      flush();
      nodes.push(el("p", { class: `heading heading-${heading[1].length}`, role: "heading", "aria-level": String(heading[1].length + 2) }, inline(heading[2])));
    } else if (small) {
      flush();
      nodes.push(el("p", { class: "subtext" }, inline(small[1])));
    } else if (/^> /.test(line)) {
      flush();
      const quoted = take(lines, at, /^> ?/);
      nodes.push(el("blockquote", null, blocks(quoted.map((one) => one.replace(/^> ?/, "")).join("\n"))));
      at += quoted.length - 1;
    } else if (/^\s{0,4}[-*] +\S/.test(line)) {
      flush();
      const items = take(lines, at, /^\s{0,4}[-*] +\S/);
      nodes.push(el("ul", null, items.map((item) => el("li", { class: /^\s/.test(item) ? "deep" : null }, inline(item.replace(/^\s*[-*] +/, ""))))));
      at += items.length - 1;
    } else if (/^\d{1,4}\. +\S/.test(line)) {
      flush();
      const items = take(lines, at, /^\d{1,4}\. +\S/);
      nodes.push(el("ol", { start: parseInt(line, 10) }, items.map((item) => el("li", null, inline(item.replace(/^\d+\. +/, ""))))));
      at += items.length - 1;
    } else plain.push(line);
  }
  flush();
  return nodes;
}

function take(lines, from, pattern) {
  const rest = lines.slice(from);
  const end = rest.findIndex((line) => !pattern.test(line));
  return end === -1 ? rest : rest.slice(0, end);
}

const PAIRS = [
  ["***", (inner) => el("strong", null, el("em", null, inner))],
  ["**", (inner) => el("strong", null, inner)],
  ["__", (inner) => el("u", null, inner)],
  ["~~", (inner) => el("s", null, inner)],
  ["||", (inner) => spoiler(inner)],
  ["*", (inner) => el("em", null, inner)],
  ["_", (inner) => el("em", null, inner)],
];
const ADDRESS = /https?:\/\/[^\s<>]+[^\s<>.,:;"'\])}!?*_~|]/y;
const MASKED = /\[([^\]\n]{1,300})\]\((https?:\/\/[^\s)]{1,1000})\)/y;
const ANGLE = /<(?:(@!?|@&|#)(\d{1,20})|t:(-?\d{1,13})(?::([tTdDfFR]))?|(https?:\/\/[^\s<>]{1,1000})|a?:(\w{1,32}):\d{1,20}|\/([-\w ]{1,100}):\d{1,20})>/y;

/** What stands inside a paragraph, as nodes. */
export function inline(text, depth = 0) {
  const nodes = [];
  let plain = "";
  const flush = () => {
    if (plain) nodes.push(...withEmoji(plain));
    plain = "";
  };
  for (let at = 0; at < text.length; ) {
    const found = special(text, at, depth);
    if (!found) {
      plain += text[at];
      at += 1;
    } else if (typeof found.node === "string") {
      plain += found.node;
      at = found.end;
    } else {
      flush();
      nodes.push(found.node);
      at = found.end;
    }
  }
  flush();
  return nodes;
}

/** What starts at this place: its node and where it ends; null for an ordinary character. */
function special(text, at, depth) {
  const sign = text[at];
  if (sign === "\\" && /[^\w\s]/.test(text[at + 1] ?? "")) return { node: text[at + 1], end: at + 2 };
  if (sign === "`") return codeSpan(text, at);
  if (sign === "<") return angle(text, at);
  if (sign === "h") {
    const address = match(ADDRESS, text, at);
    return address && { node: link(address[0], address[0]), end: at + address[0].length };
  }
  if (sign === "[") {
    const masked = match(MASKED, text, at);
    if (!masked || depth >= MAX_DEPTH) return null;
    const node = link(masked[2], inline(masked[1].replace(/https?:\/\/|[[\]]/g, ""), MAX_DEPTH));
    node.title = masked[2];
    return { node, end: at + masked[0].length };
  }
  return "*_~|".includes(sign) && depth < MAX_DEPTH ? paired(text, at, depth) : null;
}

function match(pattern, text, at) {
  pattern.lastIndex = at;
  return pattern.exec(text);
}

function codeSpan(text, at) {
  const marks = text.startsWith("``", at) ? "``" : "`";
  const end = text.indexOf(marks, at + marks.length);
  if (end <= at + marks.length) return null;
  return { node: el("code", null, text.slice(at + marks.length, end)), end: end + marks.length };
}

function paired(text, at, depth) {
  for (const [mark, wrap] of PAIRS) {
    if (!text.startsWith(mark, at)) continue;
    // As in Discord, a single _ inside of a word means nothing, and a * before a space neither.
    if (mark === "_" && /\w/.test(text[at - 1] ?? "")) continue;
    if (mark === "*" && /\s/.test(text[at + 1] ?? " ")) continue;
    const start = at + mark.length;
    let end = text.indexOf(mark, start + 1);
    while (end !== -1 && mark === "_" && /\w/.test(text[end + 1] ?? "")) end = text.indexOf(mark, end + 1);
    while (end !== -1 && mark === "*" && text[end + 1] === "*") end = text.indexOf(mark, end + 2);
    if (end === -1) continue;
    return { node: wrap(inline(text.slice(start, end), depth + 1)), end: end + mark.length };
  }
  return null;
}

function spoiler(inner) {
  const node = el("button", { type: "button", class: "spoiler", "aria-label": "Spoiler, press to show" }, inner);
  node.addEventListener("click", () => node.replaceWith(el("span", { class: "spoiler-open" }, inner)));
  return node;
}

function angle(text, at) {
  const found = match(ANGLE, text, at);
  if (!found) return null;
  const [whole, kind, id, seconds, format, address, emojiName, command] = found;
  const end = at + whole.length;
  if (seconds !== undefined) return { node: timestamp(Number(seconds), format ?? "f") ?? whole, end };
  if (address) return { node: link(address, address), end };
  if (emojiName) return { node: `:${emojiName}:`, end };
  if (command) return { node: el("span", { class: "mention" }, `/${command}`), end };
  return { node: mention(kind, id), end };
}

function mention(kind, id) {
  if (kind === "#") {
    const channel = store.channels.get(id);
    if (!channel) return el("span", { class: "mention" }, "#unknown");
    const open = () => store.emit("open", { channelId: id });
    return el("button", { type: "button", class: "mention", on: { click: open } }, `#${channelTitle(channel)}`);
  }
  if (kind === "@&") {
    const role = store.roles.get(id);
    const node = el("span", { class: "mention" }, `@${role?.name ?? "unknown role"}`);
    if (hexColour(role?.color)) node.style.color = readable(hexColour(role.color));
    return node;
  }
  const mine = id === store.as ? "mention mention-me" : "mention";
  return el("span", { class: mine }, `@${store.person(id)?.display_name ?? "unknown"}`);
}

const WORDS = { t: "time", T: "time", d: "date", D: "date" };

/** `<t:1700000000:R>` and its like, in UTC; the relative form stays true by `tick`. */
function timestamp(seconds, format) {
  const date = new Date(seconds * 1000);
  if (Number.isNaN(date.getTime())) return null;
  const full = `${day(date)} ${clock(date)} UTC`;
  const data = format === "R" ? { relative: String(seconds) } : {};
  const part = WORDS[format];
  const text = format === "R" ? relative(seconds) : part === "time" ? `${clock(date)} UTC` : part === "date" ? day(date) : full;
  return el("time", { class: "timestamp", datetime: date.toISOString(), title: full, data }, text);
}

const UNITS = [
  ["year", 31_536_000],
  ["month", 2_592_000],
  ["day", 86_400],
  ["hour", 3600],
  ["minute", 60],
  ["second", 1],
];

/** `in 5 minutes`, `2 hours ago` */
export function relative(seconds, now = Date.now()) {
  const away = Math.round(seconds - now / 1000);
  const [unit, size] = UNITS.find(([, one]) => Math.abs(away) >= one) ?? UNITS.at(-1);
  const count = Math.round(Math.abs(away) / size);
  const words = `${count} ${unit}${count === 1 ? "" : "s"}`;
  return away >= 0 ? `in ${words}` : `${words} ago`;
}

/** Renews the relative times of the page. */
export function tick() {
  for (const node of document.querySelectorAll("time[data-relative]")) {
    const text = relative(Number(node.dataset.relative));
    if (node.textContent !== text) node.textContent = text;
  }
}

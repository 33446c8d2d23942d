// Builds elements. Text from outside goes through here and becomes text nodes, never markup.

const HANDLED = new Set(["on", "data", "href", "src", "value", "checked", "selected"]);

/** An http or https address as text, or null. Files of the sandbox become addresses of this server,
 * so that `localhost` and `127.0.0.1` are the same to the policy of the page. */
export function safeUrl(text) {
  let url;
  try {
    url = new URL(text, location.href);
  } catch {
    return null;
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") return null;
  if (isLoopback(url.hostname) && isLoopback(location.hostname) && url.port === location.port) {
    return url.pathname + url.search + url.hash;
  }
  return url.href;
}

function isLoopback(host) {
  return host === "localhost" || host === "[::1]" || /^127\./.test(host);
}

/** Whether the address is one of this server, so that the page may load it. */
export function isOurs(url) {
  return url !== null && new URL(url, location.href).origin === location.origin;
}

/** Makes an element: `el("p", { class: "x", on: { click } }, "text", child)`. */
export function el(tag, props, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (!HANDLED.has(key)) node.setAttribute(key, value === true ? "" : String(value));
    else if (key === "on") {
      for (const [type, handler] of Object.entries(value)) node.addEventListener(type, handler);
    } else if (key === "data") Object.assign(node.dataset, value);
    else if (key === "href" || key === "src") {
      const url = safeUrl(value);
      if (url !== null) node.setAttribute(key, url);
    } else node[key] = value;
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** A link that opens elsewhere; plain text if the address is not http or https. */
export function link(address, ...children) {
  const url = safeUrl(address);
  if (url === null) return el("span", null, ...children);
  return el("a", { href: url, target: "_blank", rel: "noopener noreferrer nofollow" }, ...children);
}

/** Puts `next` in the place of `old` and gives the focus back to what had it, by `data-key`. */
export function replaceKeepingFocus(old, next) {
  const key = old.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  const hadFocus = old === document.activeElement;
  for (const details of old.querySelectorAll("details[open][data-key]")) {
    const same = next.querySelector(`details[data-key="${CSS.escape(details.dataset.key)}"]`);
    if (same) same.open = true;
  }
  old.replaceWith(next);
  if (hadFocus) next.focus();
  else if (key) next.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus();
}

const PICTURES = new Map([
  ["✅", "check"],
  ["❌", "cross"],
  ["👀", "eyes"],
  ["⚠️", "warning"],
  ["⚠", "warning"],
]);
const PICTURE_PATTERN = /✅|❌|👀|⚠\uFE0F?/u;

/** An emoji; those that the bot uses are drawn by us, so that no font is needed. */
export function emoji(text) {
  const picture = PICTURES.get(text);
  return picture ? el("span", { class: `emoji emoji-${picture}`, role: "img", "aria-label": text }, text) : text;
}

/** The text as nodes, with the emoji that we draw. */
export function withEmoji(text) {
  const nodes = [];
  let rest = text;
  for (let found = PICTURE_PATTERN.exec(rest); found; found = PICTURE_PATTERN.exec(rest)) {
    if (found.index > 0) nodes.push(rest.slice(0, found.index));
    nodes.push(emoji(found[0]));
    rest = rest.slice(found.index + found[0].length);
  }
  if (rest) nodes.push(rest);
  return nodes;
}

/** Shows a text for some seconds; screen readers read it at once. */
export function toast(text, kind = "error") {
  const toasts = document.getElementById("toasts");
  while (toasts.childElementCount >= 4) toasts.firstElementChild.remove();
  const node = el("div", { class: `toast toast-${kind}` }, el("span", null, text));
  node.append(el("button", { type: "button", class: "plain", "aria-label": "Close", on: { click: () => node.remove() } }, "✕"));
  toasts.append(node);
  setTimeout(() => node.remove(), 8000);
}

/** Tells screen readers what happened without showing it. */
export function announce(text) {
  const live = document.getElementById("live");
  while (live.childElementCount >= 20) live.firstElementChild.remove();
  live.append(el("p", null, text));
}

function luminance([r, g, b]) {
  const part = (v) => (v <= 10 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
  return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
}

/** A colour as `#rrggbb`, or null: Discord's own form is a number, and 0 means none. */
export function hexColour(colour) {
  if (typeof colour === "string") return colour === "#000000" ? null : colour;
  return colour > 0 ? `#${(colour & 0xffffff).toString(16).padStart(6, "0")}` : null;
}

function channels(colour) {
  const hex = /^#([0-9a-f]{6})$/i.exec(colour ?? "")?.[1] ?? "949ba4";
  return [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

/** The colour, made lighter until it can be read on the dark ground of the page. */
export function readable(colour) {
  let rgb = channels(colour);
  const ground = luminance([0x38, 0x3a, 0x40]) + 0.05;
  for (let i = 0; i < 20 && (luminance(rgb) + 0.05) / ground < 4.6; i += 1) {
    rgb = rgb.map((v) => Math.min(255, Math.round(v + (255 - v) * 0.15)));
  }
  return `rgb(${rgb.join(", ")})`;
}

/** A round picture with the first letters of a name. */
export function avatar(person, small = false) {
  const name = person?.display_name ?? "?";
  const words = name.split(/[\s_-]+/).filter(Boolean);
  const letters = words.length > 1 ? words[0][0] + words[1][0] : name.slice(0, 1);
  const node = el("span", { class: small ? "avatar small" : "avatar", "aria-hidden": "true" }, letters.toUpperCase());
  node.style.backgroundColor = `rgb(${channels(person?.color).join(", ")})`;
  node.style.color = luminance(channels(person?.color)) > 0.18 ? "#0b0c0e" : "#ffffff";
  return node;
}

const pad = (n) => String(n).padStart(2, "0");

/** `10:02`, in UTC. */
export function clock(date) {
  return `${pad(date.getUTCHours())}:${pad(date.getUTCMinutes())}`;
}

/** `2026-11-24`, in UTC. */
export function day(date) {
  return `${date.getUTCFullYear()}-${pad(date.getUTCMonth() + 1)}-${pad(date.getUTCDate())}`;
}

/** `12.3 KB` */
export function bytes(size) {
  if (!(size >= 0)) return "";
  if (size < 1000) return `${size} B`;
  return size < 1e6 ? `${(size / 1e3).toFixed(1)} KB` : `${(size / 1e6).toFixed(1)} MB`;
}

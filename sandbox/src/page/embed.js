// Embeds and attached files.

import { bytes, clock, day, el, hexColour, isOurs, link, safeUrl, withEmoji } from "./dom.js";
import { diff } from "./highlight.js";
import { inline, markdown } from "./markdown.js";

/** One embed: colour bar, author, title, description, fields, picture, footer. */
export function embed(data) {
  const node = el("div", { class: "embed" });
  node.style.borderLeftColor = hexColour(data.color) ?? "";
  const main = el("div", { class: "embed-main" });
  if (data.author?.name) {
    main.append(el("div", { class: "embed-author" }, data.author.url ? link(data.author.url, data.author.name) : data.author.name));
  }
  if (data.title) {
    main.append(el("div", { class: "embed-title" }, data.url ? link(data.url, withEmoji(data.title)) : inline(data.title)));
  }
  if (data.description) main.append(el("div", { class: "embed-text markup" }, markdown(data.description)));
  if (data.fields?.length) main.append(el("dl", { class: "embed-fields" }, data.fields.map(field)));
  const body = el("div", { class: "embed-body" }, main);
  if (data.thumbnail?.url) body.append(picture(data.thumbnail.url, "thumbnail", "") ?? "");
  node.append(body);
  if (data.image?.url) node.append(picture(data.image.url, "embed-image", data.image.description ?? "Picture") ?? "");
  const footer = footerText(data);
  if (footer) node.append(el("div", { class: "embed-footer" }, withEmoji(footer)));
  return node;
}

function field({ name, value, inline: beside }) {
  return el("div", { class: beside ? "field inline" : "field" },
    el("dt", null, inline(name)), el("dd", { class: "markup" }, markdown(value)));
}

function footerText(data) {
  const at = data.timestamp ? new Date(data.timestamp) : null;
  const time = at && !Number.isNaN(at.getTime()) ? `${day(at)} ${clock(at)} UTC` : null;
  return [data.footer?.text, time].filter(Boolean).join(" • ");
}

/** A picture of this server; for others only a link, since the page loads nothing from elsewhere. */
function picture(address, kind, description) {
  const url = safeUrl(address);
  if (url === null) return null;
  if (!isOurs(url)) return link(url, `Picture on ${new URL(url).host}`);
  return el("a", { href: url, target: "_blank", rel: "noopener" }, el("img", { class: kind, src: url, alt: description, loading: "lazy" }));
}

const TEXT_NAMES = /\.(txt|log|md|ya?ml|json|toml|csv|diff|patch|py|sh|rs|cfg|conf|ini|xml|html)$/i;
const PICTURE_NAMES = /\.(png|jpe?g|gif|webp)$/i;
const PREVIEW_LINES = 6;
const PREVIEW_BYTES = 65_536;

/** One attached file: a picture, a text with preview, or a link. */
export function attachment(file) {
  const url = safeUrl(file.url ?? "");
  const type = file.content_type ?? "";
  const name = file.filename ?? "file";
  if (url && isOurs(url) && PICTURE_NAMES.test(name) && (type === "" || type.startsWith("image/"))) {
    return picture(url, "attached-image", file.description ?? name);
  }
  const download = el("a", { class: "download", href: url ?? "#", download: name, data: { key: `file-${file.id}` }, "aria-label": `Download ${name}` },
    el("span", { class: "file-name" }, name), el("span", { class: "file-size" }, bytes(file.size)), el("span", { "aria-hidden": "true" }, "⤓"));
  if (url && isOurs(url) && (TEXT_NAMES.test(name) || type.startsWith("text/"))) return textFile(file, url, name, download);
  return el("div", { class: "file" }, download);
}

/** Address → promise of the first bytes as text; bounded, since messages are drawn often. */
const previews = new Map();

function preview(url) {
  if (!previews.has(url)) {
    if (previews.size > 60) previews.delete(previews.keys().next().value);
    previews.set(url, firstBytes(url));
  }
  return previews.get(url);
}

async function firstBytes(url) {
  const response = await fetch(url, { signal: AbortSignal.timeout(20_000) });
  if (!response.ok) throw new Error(`the file answers ${response.status}`);
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  let read = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return { text: text + decoder.decode(), cut: false };
    read += value.length;
    text += decoder.decode(value, { stream: true });
    if (read >= PREVIEW_BYTES) {
      await reader.cancel();
      return { text, cut: true };
    }
  }
}

function textFile(file, url, name, download) {
  const code = el("code", null, "…");
  const block = el("pre", { class: "code file-text", tabindex: "0", "aria-label": `Start of ${name}` }, code);
  const whole = el("details", { class: "file-whole", data: { key: `whole-${file.id}` }, hidden: true }, el("summary", { data: { key: `more-${file.id}` } }));
  const node = el("div", { class: "file text" }, block, whole, download);
  preview(url).then(
    ({ text, cut }) => {
      const lines = text.replace(/\n$/, "").split("\n");
      const coloured = (part) => (/\.(diff|patch)$/i.test(name) ? diff(part) : [part]);
      const showAll = () => {
        const all = whole.open;
        code.replaceChildren(...coloured((all ? lines : lines.slice(0, PREVIEW_LINES)).join("\n")));
        if (all && cut) code.append("\n… download the file to see the rest");
        whole.firstElementChild.textContent = all ? "Collapse" : `Expand (${lines.length}${cut ? "+" : ""} lines)`;
      };
      whole.hidden = lines.length <= PREVIEW_LINES;
      whole.addEventListener("toggle", showAll);
      showAll();
    },
    () => code.replaceChildren("The file cannot be read any more."),
  );
  return node;
}

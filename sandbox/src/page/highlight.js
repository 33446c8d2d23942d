// Code blocks: ```ansi (colours as Discord's client shows them), ```diff, and plain.

import { el } from "./dom.js";

/** A fenced code block. */
export function codeBlock(language, code) {
  const lines = code.replace(/\n$/, "");
  const body =
    language === "ansi" ? ansi(lines) : language === "diff" ? diff(lines) : [stripAnsi(lines)];
  return el("pre", { class: "code", tabindex: "0" }, el("code", null, body));
}

/** Lines that start with + or - or @@ in their colours. */
export function diff(text) {
  return text.split("\n").flatMap((line, at) => {
    const kind = line.startsWith("+") ? "add" : line.startsWith("-") ? "del" : line.startsWith("@@") ? "hunk" : null;
    const node = kind ? el("span", { class: `diff-${kind}` }, line) : line;
    return at === 0 ? [node] : ["\n", node];
  });
}

const ESCAPE = /\u001b\[([0-9;]*)m/g;

/** Text with escape sequences as spans: 0 resets, 1 bold, 4 underline, 30–37 and 40–47 colours. */
export function ansi(text) {
  const nodes = [];
  let style = {};
  let end = 0;
  const push = (part) => {
    if (!part) return;
    const classes = Object.values(style);
    nodes.push(classes.length ? el("span", { class: classes.join(" ") }, part) : part);
  };
  for (const found of text.matchAll(ESCAPE)) {
    push(text.slice(end, found.index));
    end = found.index + found[0].length;
    for (const code of (found[1] || "0").split(";").map(Number)) style = restyle(style, code);
  }
  push(text.slice(end));
  return nodes;
}

function restyle(style, code) {
  if (code === 0) return {};
  if (code === 1) return { ...style, bold: "ansi-bold" };
  if (code === 4) return { ...style, line: "ansi-underline" };
  if (code >= 30 && code <= 37) return { ...style, colour: `ansi-${code}` };
  if (code >= 40 && code <= 47) return { ...style, ground: `ansi-${code}` };
  return style;
}

function stripAnsi(text) {
  return text.replace(ESCAPE, "");
}

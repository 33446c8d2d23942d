// One message: head, text, embeds, files, components, reactions, thread, and what can be done to it.

import { call } from "./api.js";
import { avatar, clock, day, el, emoji, hexColour, readable, toast } from "./dom.js";
import { componentRows } from "./components.js";
import { attachment, embed } from "./embed.js";
import { markdown } from "./markdown.js";
import { channelTitle, store } from "./store.js";

const EPHEMERAL = 64;
const LOADING = 128;
const SUPPRESS_EMBEDS = 4;
const THREAD_CREATED = 18;
const PIN_ADDED = 6;
const THREAD_STARTER = 21;
const REACTIONS = ["✅", "❌", "👀"];
const GROUP_MS = 7 * 60_000;

/** The author as a person of the page. */
export function authorOf(message) {
  const { author } = message;
  const name = author?.global_name ?? author?.username ?? "unknown";
  const known = store.person(author?.id);
  return known ?? { id: author?.id, display_name: name, bot: author?.bot, color: "#5865f2" };
}

/** Whether a message goes on under the head of the one before. */
export function continues(message, before) {
  return Boolean(before) && before.author?.id === message.author?.id && !message.message_reference && !message.interaction && !message.interaction_metadata
    && !isSystem(before) && !isSystem(message) && (before.flags & EPHEMERAL) === (message.flags & EPHEMERAL)
    && new Date(message.timestamp) - new Date(before.timestamp) < GROUP_MS;
}

function isSystem(message) {
  return message.type === THREAD_CREATED || message.type === PIN_ADDED;
}

function plain(text) {
  return text.replace(/[`*~|]|__/g, "");
}

/** The text that a screen reader hears when the message comes. */
export function spoken(message) {
  const titles = (message.embeds ?? []).map((one) => one.title ?? one.description ?? "").join(". ");
  const text = (message.flags & LOADING) ? "is thinking" : plain(`${message.content ?? ""} ${titles}`).trim();
  return `${authorOf(message).display_name}: ${text.slice(0, 300)}`;
}

/** The message as an element. `grouped`: without head. */
export function messageNode(message, grouped) {
  if (isSystem(message)) return systemNode(message);
  const author = authorOf(message);
  const ephemeral = (message.flags & EPHEMERAL) !== 0;
  const mentioned = (message.mentions ?? []).some((one) => one.id === store.as);
  const time = new Date(message.timestamp);
  const classes = ["message", grouped && "grouped", ephemeral && "ephemeral", mentioned && "mentions-me"].filter(Boolean);
  const node = el("article", { class: classes.join(" "), tabindex: "-1", data: { id: message.id }, "aria-label": `${author.display_name}, ${clock(time)} UTC` });
  const above = grouped ? null : context(message);
  if (above) node.append(above);
  node.append(grouped ? el("time", { class: "side-time", datetime: message.timestamp, "aria-hidden": "true" }, clock(time)) : avatar(author));
  const body = el("div", { class: "body" });
  if (!grouped) body.append(head(message, author, time));
  body.append(...content(message));
  if (ephemeral) body.append(onlyYou(message));
  node.append(body, toolbar(message, ephemeral));
  return node;
}

function head(message, author, time) {
  const name = el("span", { class: "author" }, author.display_name);
  const role = (author.roles ?? []).map((id) => store.roles.get(id)).find((one) => hexColour(one?.color));
  name.style.color = author.bot || !role ? "" : readable(hexColour(role.color));
  return el("header", { class: "head" }, name, author.bot && el("span", { class: "tag" }, "APP"),
    el("time", { class: "time", datetime: message.timestamp, title: `${day(time)} ${time.toISOString().slice(11, 19)} UTC` }, stamp(time)));
}

function stamp(time) {
  const today = day(new Date()) === day(time);
  return `${today ? "Today at" : day(time)} ${clock(time)} UTC`;
}

/** The line above: what is replied to, or which command was used. */
function context(message) {
  const used = message.interaction ?? message.interaction_metadata;
  if (used?.user && (used.type ?? 2) === 2) {
    const person = store.person(used.user.id) ?? { display_name: used.user.global_name ?? used.user.username };
    return el("div", { class: "context" }, avatar(person, true),
      el("span", null, el("b", null, person.display_name), " used ", el("span", { class: "mention" }, used.name ? `/${used.name}` : "a command")));
  }
  if (!message.message_reference || message.type === THREAD_STARTER) return null;
  const original = message.referenced_message ?? store.messages.get(message.channel_id)?.get(message.message_reference.message_id);
  if (!original) return el("div", { class: "context" }, el("i", null, "Original message was deleted"));
  const jump = () => store.emit("jump", { channelId: original.channel_id ?? message.channel_id, id: original.id });
  const text = plain(original.content || original.embeds?.[0]?.title || "Press to see the message");
  return el("div", { class: "context" }, avatar(authorOf(original), true), el("b", null, authorOf(original).display_name), " ",
    el("button", { type: "button", class: "plain", on: { click: jump } }, text.slice(0, 120)));
}

function content(message) {
  if (message.flags & LOADING) {
    return [el("p", { class: "thinking" }, el("span", { class: "dots", "aria-hidden": "true" }, el("i"), el("i"), el("i")), `${authorOf(message).display_name} is thinking…`)];
  }
  const source = message.type === THREAD_STARTER ? message.referenced_message ?? message : message;
  const nodes = [];
  if (source.content) {
    const text = el("div", { class: "markup" }, markdown(source.content));
    if (message.edited_timestamp) (text.lastElementChild?.tagName === "P" ? text.lastElementChild : text).append(" ", edited(message));
    nodes.push(text);
  }
  if (!(source.flags & SUPPRESS_EMBEDS)) nodes.push(...(source.embeds ?? []).map(embed));
  nodes.push(...(source.attachments ?? []).map(attachment));
  nodes.push(...componentRows(message));
  if (message.reactions?.length) nodes.push(reactions(message));
  const thread = message.type === THREAD_STARTER ? null : store.threadOf(message);
  if (thread) nodes.push(threadCard(thread));
  return nodes;
}

/** Only texts bear the mark: the edit of an embed alone is progress, or ends "is thinking". */
function edited(message) {
  return el("span", { class: "edited", title: `Edited ${message.edited_timestamp}` }, "(edited)");
}

function onlyYou(message) {
  const dismiss = el("button", { type: "button", class: "link", data: { key: "dismiss" }, on: { click: () => store.dismiss(message) } }, "Dismiss message");
  return el("p", { class: "only-you" }, emoji("👀"), " Only you can see this • ", dismiss);
}

/** Whether the person that acts has given the reaction. The server names who gave it; `me` alone
 * would be the bot's view of it. */
function isMine(reaction) {
  return Array.isArray(reaction.users) ? reaction.users.includes(store.as) : Boolean(reaction.me);
}

function reactions(message) {
  return el("div", { class: "reactions" }, message.reactions.map((reaction) => {
    const name = reaction.emoji?.name ?? "?";
    const mine = isMine(reaction);
    const toggle = () => react(message, name, !mine);
    return el("button", { type: "button", class: "reaction", "aria-pressed": String(mine), data: { key: `reaction-${name}`, emoji: name },
      "aria-label": `${name}, ${reaction.count}, ${mine ? "press to take yours back" : "press to react"}`, on: { click: toggle } },
      emoji(name), el("span", { class: "count" }, String(reaction.count)));
  }));
}

async function react(message, name, add) {
  store.emit("acted", message.channel_id);
  try {
    await call(add ? "PUT" : "DELETE", "reaction", { as: store.as, channel_id: message.channel_id, message_id: message.id, emoji: name });
  } catch (error) {
    toast(error.message);
  }
}

async function remove(message) {
  try {
    await call("DELETE", "message", { as: store.as, channel_id: message.channel_id, message_id: message.id });
  } catch (error) {
    toast(error.message);
  }
}

/** What can be done: shown when the message has the focus or the mouse is on it. */
function toolbar(message, ephemeral) {
  const bar = el("div", { class: "toolbar", role: "group", "aria-label": "Message actions" });
  if (!ephemeral && !(message.flags & LOADING)) {
    bar.append(...REACTIONS.map((name) => {
      const mine = message.reactions?.some((one) => one.emoji?.name === name && isMine(one));
      return el("button", { type: "button", tabindex: "-1", title: `React with ${name}`, "aria-label": `React with ${name}`, data: { key: `react-${name}` }, on: { click: () => react(message, name, !mine) } }, emoji(name));
    }));
  }
  if (message.author?.id === store.as) {
    bar.append(el("button", { type: "button", tabindex: "-1", class: "danger-text", title: "Delete message", "aria-label": "Delete message", on: { click: () => remove(message) } }, "Delete"));
  }
  return bar.childElementCount ? bar : "";
}

function threadCard(thread) {
  const open = () => store.emit("open-side", { channelId: thread.id });
  const count = thread.message_count ?? thread.total_message_sent;
  return el("button", { type: "button", class: "thread-card", data: { key: `thread-${thread.id}` }, on: { click: open } },
    el("b", null, channelTitle(thread)), el("span", { class: "thread-open" }, count > 0 ? `${count} message${count === 1 ? "" : "s"} ›` : "See thread ›"));
}

function systemNode(message) {
  const author = authorOf(message);
  const node = el("article", { class: "message system", tabindex: "-1", data: { id: message.id } });
  if (message.type === PIN_ADDED) {
    node.append(el("p", null, el("b", null, author.display_name), " pinned a message to this channel."));
    return node;
  }
  const id = message.message_reference?.channel_id;
  const open = () => id && store.emit("open-side", { channelId: id });
  node.append(el("p", null, el("b", null, author.display_name), " started a thread: ", el("button", { type: "button", class: "link", on: { click: open } }, message.content ?? "thread")));
  return node;
}

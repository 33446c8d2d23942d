// A pane: the head of a channel or thread, its messages, and the composer under them.

import { announce, day, el, replaceKeepingFocus, toast } from "./dom.js";
import { Composer } from "./composer.js";
import { continues, messageNode, spoken } from "./message.js";
import { channelTitle, isThread, store } from "./store.js";

const NEAR_END_PX = 80;

function setActions(target, tabIndex) {
  for (const button of target.closest(".message")?.querySelectorAll(".toolbar button") ?? []) button.tabIndex = tabIndex;
}

export class View {
  /** `buttons`: elements for the right end of the head. */
  constructor(root, id, buttons) {
    this.root = root;
    this.channelId = "";
    this.title = el("h1", { class: "pane-title" });
    this.topic = el("p", { class: "pane-topic" });
    this.head = el("header", { class: "pane-head" }, this.title, this.topic, el("div", { class: "pane-buttons" }, buttons));
    this.list = el("div", { class: "messages", tabindex: "0", role: "feed", "aria-label": "Messages" });
    this.list.addEventListener("keydown", (event) => this.onKey(event));
    // The actions of a message are in the order of Tab only while the focus is in it.
    this.list.addEventListener("focusin", (event) => setActions(event.target, 0));
    this.list.addEventListener("focusout", (event) => setActions(event.target, -1));
    this.inner = el("div");
    this.list.append(this.inner);
    this.list.addEventListener("scroll", () => {
      this.pinned = this.atEnd();
      if (this.pinned) this.seen();
    });
    this.composer = new Composer(id);
    this.news = el("button", { type: "button", class: "news", hidden: true, on: { click: () => this.toEnd() } }, "New messages below ↓");
    root.replaceChildren(this.head, this.list, this.news, this.composer.node);
    // What grows late, such as the preview of a file, doesn't push the end out of sight.
    const resized = new ResizeObserver(() => this.pinned && this.toEnd());
    resized.observe(this.list);
    resized.observe(this.inner);
    this.pinned = true;
    store.on("loaded", (channelId) => channelId === this.channelId && this.draw());
    store.on("message", (event) => this.onMessage(event));
    // Whoever sends a command wants to see its answer, which comes at the end.
    store.on("sent", (channelId) => channelId === this.channelId && this.toEnd());
    store.on("removed", ({ channelId, id }) => channelId === this.channelId && this.onRemoved(id));
    store.on("channel", (channel) => this.onChannel(channel));
    store.on("jump", ({ channelId, id }) => channelId === this.channelId && this.jump(id));
    store.on("last-message", (channelId) => channelId === this.channelId && [...this.list.querySelectorAll(".message")].at(-1)?.focus());
  }

  async open(channelId) {
    const channel = store.channels.get(channelId);
    if (!channel) return;
    this.channelId = channelId;
    this.showHead(channel);
    this.composer.open(channel);
    this.inner.replaceChildren(el("p", { class: "loading" }, "Loading …"));
    this.pinned = true;
    try {
      await store.loadMessages(channelId);
    } catch (error) {
      toast(error.message);
      if (this.channelId === channelId) this.inner.replaceChildren(el("p", { class: "loading" }, error.message));
    }
  }

  close() {
    this.channelId = "";
    this.inner.replaceChildren();
  }

  showHead(channel) {
    const sign = channel.type === 1 ? "@" : isThread(channel) ? "↳" : "#";
    const mark = el("span", { class: "sign", "aria-hidden": "true" }, sign);
    this.title.replaceChildren(mark, channelTitle(channel));
    this.topic.textContent = channel.topic ?? (isThread(channel) ? `in #${store.channels.get(channel.parent_id)?.name ?? ""}` : "");
    this.root.setAttribute("aria-label", `${isThread(channel) ? "Thread" : "Channel"} ${channelTitle(channel)}`);
  }

  shown() {
    return [...(store.messages.get(this.channelId)?.values() ?? [])].filter((message) => !store.isDismissed(message.id));
  }

  draw() {
    const nodes = [this.beginning()];
    let before = null;
    for (const message of this.shown()) {
      nodes.push(...this.nodesFor(message, before));
      before = message;
    }
    this.inner.replaceChildren(...nodes);
    this.toEnd();
    this.seen();
  }

  beginning() {
    const channel = store.channels.get(this.channelId);
    const name = channelTitle(channel ?? {});
    const words = isThread(channel ?? {}) ? `Start of the thread ${name}` : channel?.type === 1 ? `Start of your messages with ${name}` : `Welcome to #${name}`;
    return el("div", { class: "beginning" }, el("h2", null, words),
      channel?.id === store.defaultChannelId && el("p", null, "Type ", el("kbd", null, "/"), " to see what the bot can do. ", el("kbd", null, "Alt+P"), " acts as another person, ",
        el("kbd", null, "Alt+W"), " shows the world, ", el("kbd", null, "Alt+↑"), " ", el("kbd", null, "Alt+↓"), " change the channel, ", el("kbd", null, "↑"), " goes to the messages."));
  }

  nodesFor(message, before) {
    const date = day(new Date(message.timestamp));
    const newDay = !before || day(new Date(before.timestamp)) !== date;
    const node = messageNode(message, !newDay && continues(message, before));
    return newDay ? [el("div", { class: "day", role: "separator", "aria-label": date }, el("span", null, date)), node] : [node];
  }

  node(id) {
    return this.list.querySelector(`.message[data-id="${CSS.escape(id)}"]`);
  }

  onMessage({ message, isNew }) {
    if (message.channel_id !== this.channelId) return;
    const shown = this.shown();
    const at = shown.findIndex((one) => one.id === message.id);
    if (at < 0) return;
    const before = shown[at - 1];
    const stay = this.atEnd();
    const old = this.node(message.id);
    if (old) replaceKeepingFocus(old, messageNode(message, old.classList.contains("grouped")));
    else if (at === shown.length - 1) this.inner.append(...this.nodesFor(message, before));
    else this.draw();
    if (isNew && message.author?.id !== store.as) announce(spoken(message));
    if (stay || (isNew && message.author?.id === store.as)) this.toEnd();
    else if (isNew) this.news.hidden = false;
    if (stay && document.hasFocus()) this.seen();
  }

  onRemoved(id) {
    const hadFocus = this.node(id)?.contains(document.activeElement);
    const at = this.list.scrollTop;
    const stay = this.atEnd();
    this.draw();
    if (!stay) this.list.scrollTop = at;
    if (hadFocus) this.composer.focus();
  }

  /** A thread was started or renamed: its head, or the message that it hangs on. */
  onChannel(channel) {
    if (channel.id === this.channelId) this.showHead(channel);
    const message = store.messages.get(this.channelId)?.get(channel.id);
    if (message) this.onMessage({ message, isNew: false });
  }

  atEnd() {
    return this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight < NEAR_END_PX;
  }

  toEnd() {
    this.list.scrollTop = this.list.scrollHeight;
    this.pinned = true;
  }

  seen() {
    this.news.hidden = true;
    if (this.channelId) store.markRead(this.channelId);
  }

  jump(id) {
    const node = this.node(id);
    node?.scrollIntoView({ block: "center" });
    node?.focus();
  }

  /** Up and Down go through the messages; Tab goes into one, Escape back to the composer. */
  onKey(event) {
    const all = [...this.list.querySelectorAll(".message")];
    const at = all.indexOf(document.activeElement);
    if (event.key === "Escape") this.composer.focus();
    else if (event.key === "ArrowUp" && (at > 0 || document.activeElement === this.list)) all[at > 0 ? at - 1 : all.length - 1]?.focus();
    else if (event.key === "ArrowDown" && at >= 0) (all[at + 1] ?? this.composer.text).focus();
    else return;
    event.preventDefault();
  }
}

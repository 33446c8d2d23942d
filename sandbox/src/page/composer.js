// Where a person writes: a text, or a slash command. One stands under each pane.

import { call } from "./api.js";
import { leaves, matching, named, parseOptions } from "./command.js";
import { el, toast } from "./dom.js";
import { ListBox } from "./popup.js";
import { SlashForm } from "./slash.js";
import { channelTitle, isThread, store } from "./store.js";

export class Composer {
  constructor(id) {
    this.channelId = "";
    this.form = null;
    this.closed = null;
    this.list = new ListBox("Suggestions", (item) => (this.form ? this.form.pick(item.value) : this.choose(item.value)));
    this.text = el("textarea", { rows: "1", maxlength: "2000", spellcheck: "false", "aria-keyshortcuts": "/" });
    this.text.addEventListener("input", () => this.onInput());
    this.text.addEventListener("keydown", (event) => this.onKey(event));
    this.text.addEventListener("blur", () => !this.form && this.list.hide());
    this.text.addEventListener("focus", () => this.onInput());
    this.list.attach(this.text);
    this.box = el("div", { class: "composer-box" }, this.text);
    this.offline = el("p", { class: "offline", role: "status", hidden: true });
    this.error = el("p", { class: "composer-error", role: "alert", hidden: true });
    this.node = el("div", { class: "composer", id }, this.offline, this.list.node, this.box, this.error);
    store.on("bot", () => this.showBot());
    store.on("commands", () => this.onInput());
    store.on("failed", ({ channelId, text }) => channelId === this.channelId && this.fail(text));
    store.on("acted", (channelId) => channelId === this.channelId && this.fail(""));
  }

  open(channel) {
    if (this.channelId !== channel.id && this.form) this.leaveCommand("");
    this.channelId = channel.id;
    const name = channel.type === 1 ? `@${channelTitle(channel)}` : isThread(channel) ? channelTitle(channel) : `#${channelTitle(channel)}`;
    this.text.placeholder = `Message ${name}`;
    this.text.setAttribute("aria-label", `Message ${name}; / for commands`);
    this.fail("");
    this.showBot();
  }

  showBot() {
    const bot = store.person(store.botUserId);
    this.offline.hidden = store.botOnline;
    this.offline.textContent = `${bot?.display_name ?? "The bot"} is offline: commands get no answer until it is back.`;
  }

  focus() {
    if (this.form) this.form.focus();
    else this.text.focus();
  }

  /** A failure, shown under the composer until something new is done. */
  fail(text) {
    this.error.hidden = !text;
    this.error.replaceChildren(text ?? "");
  }

  /** What is wrong with an option. */
  problem(text, option) {
    this.error.hidden = !text;
    this.error.replaceChildren(...(text ? [option ? el("b", null, `${option}: `) : "", text] : []));
  }

  grow() {
    this.text.style.height = "auto";
    this.text.style.height = `${Math.min(this.text.scrollHeight, 260)}px`;
  }

  onInput() {
    this.grow();
    const { value } = this.text;
    if (this.form || !value.startsWith("/")) return this.list.hide();
    const all = leaves(store.commands);
    const whole = named(all, value);
    // A full name and a space, typed or pasted with its options, is the choice of the command.
    if (whole?.open) return this.choose(whole.leaf, whole.rest);
    if (document.activeElement !== this.text || value.includes("\n")) return this.list.hide();
    const found = matching(all, value).map((leaf) => ({ label: leaf.title, detail: leaf.description, value: leaf, group: leaf.path.length > 2 ? `${leaf.path[0]} ${leaf.path[1]}` : leaf.path[0] }));
    const title = found.length ? [] : ["No such command"];
    this.list.show(grouped(found), { title });
    return undefined;
  }

  choose(leaf, rest = "") {
    const { values, stray } = parseOptions(leaf, rest);
    this.form = new SlashForm(this, leaf);
    this.form.fill(values);
    this.text.value = "";
    this.box.replaceChildren(this.form.row);
    this.list.hide();
    this.form.focus();
    if (stray) {
      this.form.tail.value = stray;
      this.form.tail.focus();
    }
  }

  leaveCommand(text) {
    this.form = null;
    this.box.replaceChildren(this.text);
    this.list.attach(this.text);
    this.text.value = text;
    this.problem(undefined);
    this.text.focus();
    this.onInput();
  }

  onKey(event) {
    if (event.isComposing) return;
    if ((event.key === "ArrowDown" || event.key === "ArrowUp") && this.list.open) this.list.move(event.key === "ArrowDown" ? 1 : -1);
    else if ((event.key === "Enter" && !event.shiftKey || event.key === "Tab" && !event.shiftKey) && this.list.current) this.choose(this.list.current.value);
    else if (event.key === "Enter" && !event.shiftKey) this.sendText();
    else if (event.key === "Escape" && this.list.open) this.list.hide();
    else if (event.key === "ArrowUp" && this.text.value === "") store.emit("last-message", this.channelId);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  async sendText() {
    const content = this.text.value.trim();
    if (!content) return;
    const whole = named(leaves(store.commands), content);
    if (whole) {
      this.choose(whole.leaf, whole.rest);
      return;
    }
    this.fail("");
    this.text.value = "";
    this.grow();
    try {
      await call("POST", "message", { as: store.as, channel_id: this.channelId, content });
    } catch (error) {
      this.text.value ||= content;
      this.refused(error);
    }
  }

  /** Sends a command; the form stays if it was refused. */
  async send(leaf, options) {
    this.fail("");
    this.list.hide();
    this.box.setAttribute("aria-busy", "true");
    store.emit("acted", this.channelId);
    store.emit("sent", this.channelId);
    const form = this.form;
    try {
      await call("POST", "command", { as: store.as, channel_id: this.channelId, command_id: leaf.id, options });
      if (this.form === form) this.leaveCommand("");
    } catch (error) {
      this.refused(error);
    } finally {
      this.box.removeAttribute("aria-busy");
    }
  }

  refused(error) {
    toast(error.message);
    this.fail(error.message);
  }
}

/** Keeps the order inside of each group, with the groups one after the other. */
function grouped(items) {
  const groups = new Map();
  for (const item of items) groups.set(item.group, [...(groups.get(item.group) ?? []), item]);
  return [...groups.values()].flat();
}

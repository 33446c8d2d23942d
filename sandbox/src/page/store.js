// What the page knows: people, channels, commands, messages, and who acts.
// Views listen: `store.on("messages", fn)`.

import { call } from "./api.js";

const target = new EventTarget();
const READ_KEY = "sandbox-read";
const DISMISSED_KEY = "sandbox-dismissed";

/** Compares ids, which are numbers too large for JavaScript. */
export function compareIds(a, b) {
  return a.length - b.length || (a < b ? -1 : a > b ? 1 : 0);
}

export const store = {
  people: new Map(),
  roles: new Map(),
  channels: new Map(),
  commands: [],
  guild: { id: "", name: "" },
  botUserId: "",
  botOnline: false,
  defaultChannelId: "",
  /** The id of the person that acts. */
  as: "",
  /** Channel id → message id → message. */
  messages: new Map(),
  unread: new Set(),

  on(kind, handler) {
    const listener = (event) => handler(event.detail);
    target.addEventListener(kind, listener);
    return () => target.removeEventListener(kind, listener);
  },

  emit(kind, detail) {
    target.dispatchEvent(new CustomEvent(kind, { detail }));
  },

  person(id) {
    return this.people.get(id);
  },

  me() {
    return this.people.get(this.as);
  },

  roleNames(person) {
    return (person?.roles ?? []).map((id) => this.roles.get(id)?.name).filter(Boolean);
  },

  /** Loads everything but messages. */
  async load() {
    const state = await call("GET", "state");
    this.people = new Map(state.people.map((person) => [person.id, person]));
    this.roles = new Map(state.roles.map((role) => [role.id, role]));
    this.channels = new Map(state.channels.map((channel) => [channel.id, channel]));
    this.commands = state.commands;
    this.guild = state.guild;
    this.botUserId = state.bot_user_id;
    this.botOnline = state.bot_online;
    this.defaultChannelId = state.default_channel_id;
  },

  /** Marks as unread what was written in while the person was away. */
  findUnread() {
    const read = stored(localStorage, READ_KEY)[this.as];
    this.unread = new Set();
    if (!read) return;
    for (const channel of this.channels.values()) {
      const last = channel.last_message_id;
      if (last && compareIds(last, read[channel.id] ?? "0") > 0) this.unread.add(channel.id);
    }
  },

  /** Remembers that the person has seen the channel up to its end. */
  markRead(channelId) {
    const all = stored(localStorage, READ_KEY);
    const mine = (all[this.as] ??= {});
    if (Object.keys(mine).length === 0) {
      // The first visit: what was there before counts as read.
      for (const channel of this.channels.values()) mine[channel.id] = channel.last_message_id ?? "0";
    }
    const last = [...(this.messages.get(channelId)?.keys() ?? [])].sort(compareIds).at(-1);
    if (last) mine[channelId] = last;
    localStorage.setItem(READ_KEY, JSON.stringify(all));
    if (this.unread.delete(channelId)) this.emit("sidebar");
  },

  /** Loads the messages of a channel for the person that acts. An event that came meanwhile is
   * newer than the answer and stays. */
  async loadMessages(channelId) {
    const as = this.as;
    const start = this.change;
    const list = await call("GET", `channels/${channelId}/messages?as=${encodeURIComponent(as)}`);
    if (as !== this.as) return;
    const known = this.messages.get(channelId);
    const loaded = new Map(list.map((message) => [message.id, message]));
    for (const [id, at] of this.changes.get(channelId) ?? []) {
      if (at <= start) continue;
      if (known?.has(id)) loaded.set(id, known.get(id));
      else loaded.delete(id);
    }
    this.messages.set(channelId, sorted(loaded));
    this.emit("loaded", channelId);
  },

  /** Counts the changes by events; channel id → message id → the count at its last change, bounded. */
  change: 0,
  changes: new Map(),

  noteChange(channelId, id) {
    this.change += 1;
    let changed = this.changes.get(channelId);
    if (!changed || changed.size > 5000) this.changes.set(channelId, (changed = new Map()));
    changed.set(id, this.change);
  },

  upsert(message) {
    const list = this.messages.get(message.channel_id) ?? new Map();
    const isNew = !list.has(message.id);
    list.set(message.id, message);
    this.messages.set(message.channel_id, isNew ? sorted(list) : list);
    this.noteChange(message.channel_id, message.id);
    const channel = this.channels.get(message.channel_id);
    if (channel && isNew && (message.flags & 64) === 0) channel.last_message_id = message.id;
    this.emit("message", { message, isNew });
  },

  remove(channelId, id) {
    this.messages.get(channelId)?.delete(id);
    this.noteChange(channelId, id);
    this.emit("removed", { channelId, id });
  },

  /** The thread that hangs on a message. */
  threadOf(message) {
    const thread = this.channels.get(message.id);
    if (thread && isThread(thread)) return thread;
    return message.thread && !this.channels.has(message.thread.id) ? message.thread : null;
  },

  isDismissed(id) {
    return stored(sessionStorage, DISMISSED_KEY)[id] === true;
  },

  dismiss(message) {
    const all = stored(sessionStorage, DISMISSED_KEY);
    all[message.id] = true;
    sessionStorage.setItem(DISMISSED_KEY, JSON.stringify(all));
    this.remove(message.channel_id, message.id);
  },

  /** Forgets what only the former person could see. */
  forgetMessages() {
    this.messages.clear();
    this.changes.clear();
  },
};

function sorted(messages) {
  return new Map([...messages].sort(([a], [b]) => compareIds(a, b)));
}

function stored(storage, key) {
  try {
    return JSON.parse(storage.getItem(key)) ?? {};
  } catch {
    return {};
  }
}

export function isThread(channel) {
  return channel.type === 10 || channel.type === 11 || channel.type === 12;
}

/** What a channel is called: `#pangeo`, a thread's name, or the other person of a DM. */
export function channelTitle(channel) {
  if (channel.type === 1) return dmPartner(channel)?.display_name ?? "Direct message";
  return channel.name ?? "";
}

export function dmPartner(channel) {
  const others = (channel.recipients ?? []).filter((person) => person.id !== store.as);
  const other = others[0] ?? { id: store.botUserId };
  return store.person(other.id) ?? { ...other, display_name: other.global_name ?? other.username };
}

/** Whether the person that acts can see the channel. A DM names those of it but maybe not the bot. */
export function canSee(channel) {
  return channel.type !== 1 || (channel.recipients ?? []).some((person) => person.id === store.as);
}

// Starts the page and ties its parts: who acts, which channels are open, and what the server says.

import { follow } from "./api.js";
import { announce, el, toast } from "./dom.js";
import { tick } from "./markdown.js";
import { showModal } from "./modal.js";
import { askPerson, fromHash, readHash, showPerson, writeHash } from "./person.js";
import { drawSidebar } from "./sidebar.js";
import { canSee, channelTitle, isThread, store } from "./store.js";
import { View } from "./view.js";
import { World } from "./world.js";

const body = document.body;
const side = document.getElementById("side");
const worldRoot = document.getElementById("world");
const personButton = document.getElementById("person-switch");
const WIDE = matchMedia("(min-width: 1100px)");

const channelsButton = el("button", { type: "button", class: "icon narrow-only", "aria-label": "Channels", on: { click: () => body.classList.toggle("show-channels") } }, "☰");
const worldButton = el("button", { type: "button", class: "button small", on: { click: () => toggleWorld() } }, "World");
const main = new View(document.getElementById("main"), "main-composer", [channelsButton, worldButton]);
const thread = new View(side, "side-composer", [
  el("button", { type: "button", class: "icon", title: "Open as a channel", "aria-label": "Open the thread as a channel", on: { click: () => openChannel(thread.channelId) } }, "⤢"),
  el("button", { type: "button", class: "icon", "aria-label": "Close the thread", on: { click: () => closeSide() } }, "✕"),
]);
const world = new World(worldRoot, () => toggleWorld(false));
/** The pane in which something was done last; failures are told there. */
let lastActed = "";
let stopFollowing = () => {};

function redraw() {
  drawSidebar({ current: [main.channelId, thread.channelId].filter(Boolean), switchPerson });
  worldButton.setAttribute("aria-pressed", String(!worldRoot.hidden));
  document.title = `${store.unread.size ? "• " : ""}${channelTitle(store.channels.get(main.channelId) ?? {})} | ${store.guild.name} (simulation)`;
}

function openChannel(channelId) {
  const channel = store.channels.get(channelId);
  if (!channel || !canSee(channel)) return;
  if (channelId === thread.channelId) closeSide();
  body.classList.remove("show-channels");
  main.open(channelId);
  writeHash(channelId);
  redraw();
  main.composer.focus();
}

function openSide(channelId) {
  if (channelId === main.channelId || !store.channels.has(channelId)) return;
  side.hidden = false;
  // Three columns need a wide window; a thread is worth more than the world.
  if (!matchMedia("(min-width: 1500px)").matches) toggleWorld(false);
  thread.open(channelId);
  redraw();
  thread.composer.focus();
}

function closeSide() {
  side.hidden = true;
  thread.close();
  redraw();
  main.composer.focus();
}

function toggleWorld(show = worldRoot.hidden) {
  worldRoot.hidden = !show;
  if (show && !matchMedia("(min-width: 1500px)").matches && !side.hidden) closeSide();
  if (show) world.refresh();
  redraw();
}

async function switchPerson(anchor) {
  const id = await askPerson(anchor ?? personButton);
  if (id) await become(id);
}

/** From now on this person acts: other events, other private messages. */
async function become(id) {
  store.as = id;
  store.forgetMessages();
  store.findUnread();
  showPerson(personButton);
  const current = store.channels.get(main.channelId);
  const wanted = current && canSee(current) ? current.id : store.defaultChannelId;
  writeHash(wanted);
  connect();
  announce(`You are ${store.me()?.display_name}`);
  await main.open(wanted);
  if (!side.hidden) await thread.open(thread.channelId);
  redraw();
  main.composer.focus();
}

function connect() {
  stopFollowing();
  const connection = document.getElementById("connection");
  stopFollowing = follow(store.as, {
    open: (again) => {
      connection.hidden = true;
      if (again) reload();
    },
    lost: () => {
      connection.hidden = false;
    },
    message: onMessage,
    message_delete: ({ id, channel_id }) => store.remove(channel_id, id),
    channel: (channel) => {
      const before = store.channels.get(channel.id);
      store.channels.set(channel.id, { ...before, ...channel });
      store.emit("channel", store.channels.get(channel.id));
      redraw();
    },
    channel_delete: ({ id }) => {
      store.channels.delete(id);
      if (id === thread.channelId) closeSide();
      else if (id === main.channelId) openChannel(store.defaultChannelId);
      else redraw();
    },
    commands: (list) => {
      store.commands = Array.isArray(list) ? list : list?.commands ?? [];
      store.emit("commands");
    },
    bot: ({ online }) => {
      store.botOnline = online;
      store.emit("bot");
      redraw();
      announce(online ? "The bot is online" : "The bot is offline");
    },
    modal: (data) => showModal(data, data.channel_id ?? (lastActed || main.channelId)),
    interaction_failed: ({ text, channel_id }) => {
      const message = text || "This interaction failed";
      store.emit("failed", { channelId: channel_id ?? (lastActed || main.channelId), text: message });
      toast(message);
    },
    world: () => store.emit("world"),
  });
}

function onMessage(message) {
  if (store.isDismissed(message.id)) return;
  const knownBefore = store.messages.get(message.channel_id)?.has(message.id);
  store.upsert(message);
  const open = message.channel_id === main.channelId || message.channel_id === thread.channelId;
  const channel = store.channels.get(message.channel_id);
  if (!open && !knownBefore && !message.edited_timestamp && message.author?.id !== store.as && channel && canSee(channel)) {
    store.unread.add(message.channel_id);
    redraw();
  }
}

/** After a break everything may have changed. */
async function reload() {
  try {
    await store.load();
  } catch (error) {
    toast(error.message);
    return;
  }
  store.emit("bot");
  store.emit("commands");
  store.forgetMessages();
  redraw();
  await Promise.all([main, thread].filter((view) => view.channelId).map((view) => store.loadMessages(view.channelId)));
  if (!worldRoot.hidden) world.refresh();
}

function onKey(event) {
  const inDialog = document.querySelector("dialog[open]");
  if (inDialog) return;
  if (event.altKey && event.key.toLowerCase() === "p") switchPerson();
  else if (event.altKey && event.key.toLowerCase() === "w") toggleWorld();
  else if (event.altKey && (event.key === "ArrowUp" || event.key === "ArrowDown")) neighbour(event.key === "ArrowDown" ? 1 : -1);
  else if (event.key === "Escape" && body.classList.contains("show-channels")) body.classList.remove("show-channels");
  else if (event.key === "Escape" && worldRoot.contains(document.activeElement)) (toggleWorld(false), main.composer.focus());
  else if (event.key === "Escape" && side.contains(document.activeElement)) closeSide();
  else if (event.key === "/" && !isTyping(event.target)) main.composer.focus();
  else return;
  // The slash itself is typed into the composer.
  if (event.key !== "/") event.preventDefault();
}

function isTyping(target) {
  return target.matches?.("input, textarea, select");
}

function neighbour(step) {
  const all = [...document.querySelectorAll("[data-channel]")].map((node) => node.dataset.channel);
  const next = all[(all.indexOf(main.channelId) + step + all.length) % all.length];
  if (next) openChannel(next);
}

async function start() {
  try {
    await store.load();
  } catch (error) {
    main.inner.replaceChildren(el("p", { class: "loading" }, `${error.message} Trying again …`));
    setTimeout(start, 2000);
    return;
  }
  const wanted = readHash().channelId;
  const person = fromHash();
  if (!person) {
    main.inner.replaceChildren(el("p", { class: "loading" }, "The sandbox has no people."));
    return;
  }
  store.as = person.id;
  store.findUnread();
  showPerson(personButton);
  connect();
  const channel = store.channels.get(wanted);
  openChannel(channel && canSee(channel) ? wanted : store.defaultChannelId);
  toggleWorld(WIDE.matches);
}

store.on("open", ({ channelId }) => openChannel(channelId));
store.on("open-side", ({ channelId }) => openSide(channelId));
store.on("acted", (channelId) => {
  lastActed = channelId;
});
store.on("sidebar", redraw);
store.on("channel", (channel) => {
  // An archived thread leaves the list, but not the pane in which it is read.
  if (isThread(channel) && channel.id === thread.channelId) redraw();
});
personButton.addEventListener("click", () => switchPerson(personButton));
window.addEventListener("hashchange", () => {
  const person = fromHash();
  const { channelId } = readHash();
  if (person && person.id !== store.as) become(person.id);
  else if (channelId && channelId !== main.channelId) openChannel(channelId);
});
document.addEventListener("keydown", onKey);
setInterval(tick, 1000);
start();

// The left side: servers, channels with their threads, direct messages, and the person at the foot.

import { avatar, el } from "./dom.js";
import { canSee, channelTitle, compareIds, dmPartner, isThread, store } from "./store.js";

const rail = document.getElementById("rail");
const sidebar = document.getElementById("sidebar");

/** Draws the left side. `current`: the open channels; `switchPerson` opens the list of people. */
export function drawSidebar({ current, switchPerson }) {
  const focused = sidebar.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  rail.replaceChildren(el("div", { class: "server", title: store.guild.name, "aria-label": store.guild.name, role: "img" },
    store.guild.name.split(/\s+/).map((word) => word[0] ?? "").join("").slice(0, 3)));
  const all = [...store.channels.values()];
  const texts = all.filter((one) => one.type === 0 || one.type === 5).sort((a, b) => (a.position ?? 0) - (b.position ?? 0) || compareIds(a.id, b.id));
  const dms = all.filter((one) => one.type === 1 && canSee(one));
  const list = el("ul", { class: "channels", "aria-label": "Channels" });
  for (const channel of texts) {
    list.append(entry(channel, current));
    const threads = all.filter((one) => isThread(one) && one.parent_id === channel.id && (!one.thread_metadata?.archived || current.includes(one.id)));
    threads.sort((a, b) => compareIds(b.id, a.id));
    list.append(...threads.slice(0, 30).map((thread) => entry(thread, current)));
  }
  sidebar.replaceChildren(
    el("header", { class: "guild" }, el("b", null, store.guild.name), el("span", { class: "tag simulated" }, "SIM")),
    el("div", { class: "channel-scroll" },
      el("h2", { class: "group-title" }, "Text channels"), list,
      dms.length > 0 && el("h2", { class: "group-title" }, "Direct messages"),
      dms.length > 0 && el("ul", { class: "channels", "aria-label": "Direct messages" }, dms.map((dm) => entry(dm, current)))),
    foot(switchPerson));
  if (focused) sidebar.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
}

function entry(channel, current) {
  const unread = store.unread.has(channel.id);
  const open = current.includes(channel.id);
  const thread = isThread(channel);
  const dm = channel.type === 1;
  const go = () => store.emit("open", { channelId: channel.id });
  const sign = dm ? avatar(dmPartner(channel), true) : el("span", { class: "sign", "aria-hidden": "true" }, thread ? "↳" : "#");
  return el("li", { class: thread ? "thread" : null },
    el("button", { type: "button", class: ["channel", open && "open", unread && "unread"].filter(Boolean).join(" "), data: { key: `channel-${channel.id}`, channel: channel.id },
      "aria-current": current[0] === channel.id ? "page" : null, on: { click: go } },
      sign, el("span", { class: "channel-name" }, channelTitle(channel)), unread && el("span", { class: "visually-hidden" }, " (unread)")));
}

function foot(switchPerson) {
  const bot = store.person(store.botUserId);
  const me = store.me();
  return el("footer", { class: "foot" },
    el("p", { class: "bot-state" }, el("span", { class: store.botOnline ? "dot on" : "dot", "aria-hidden": "true" }), `${bot?.display_name ?? "bot"} is ${store.botOnline ? "online" : "offline"}`),
    el("button", { type: "button", class: "me", data: { key: "me" }, title: "Act as another person (Alt+P)", on: { click: (event) => switchPerson(event.currentTarget) } },
      avatar(me), el("span", { class: "me-text" }, el("b", null, me?.display_name ?? ""), el("span", null, store.roleNames(me).join(", ") || "no role"))));
}

// Buttons and selects under a message.

import { call } from "./api.js";
import { el, emoji, link, toast } from "./dom.js";
import { menu } from "./popup.js";
import { store } from "./store.js";

const STYLES = { 1: "primary", 2: "secondary", 3: "success", 4: "danger" };
const USER_SELECT = 5;
const ROLE_SELECT = 6;
const CHANNEL_SELECT = 8;

/** The rows of components of a message. */
export function componentRows(message) {
  return (message.components ?? [])
    .filter((row) => row.type === 1)
    .map((row) => el("div", { class: "component-row" }, (row.components ?? []).map((one) => component(message, one))));
}

function component(message, data) {
  const face = [data.emoji?.name && emoji(data.emoji.name), data.label].filter(Boolean);
  const key = `component-${data.custom_id ?? data.url}`;
  if (data.type === 2 && data.style === 5) {
    const node = link(data.url ?? "", ...face, " ↗");
    node.classList.add("button", "secondary");
    node.dataset.key = key;
    return node;
  }
  if (data.type === 2) {
    const node = el("button", { type: "button", class: `button ${STYLES[data.style] ?? "secondary"}`, disabled: data.disabled, data: { key } }, face);
    node.addEventListener("click", () => press(node, message, data.custom_id));
    return node;
  }
  return select(message, data, key);
}

function choices(data) {
  if (data.type === USER_SELECT) return [...store.people.values()].map((one) => ({ label: one.display_name, value: one.id }));
  if (data.type === ROLE_SELECT) return [...store.roles.values()].map((one) => ({ label: one.name, value: one.id }));
  if (data.type === CHANNEL_SELECT) return [...store.channels.values()].map((one) => ({ label: one.name ?? "", value: one.id }));
  return (data.options ?? []).map((one) => ({ label: one.label, detail: one.description, value: one.value, picture: one.emoji?.name && emoji(one.emoji.name) }));
}

function select(message, data, key) {
  const chosen = (data.options ?? []).filter((option) => option.default);
  const face = chosen.map((option) => option.label).join(", ") || data.placeholder || "Make a selection";
  const node = el("button", { type: "button", class: "select", disabled: data.disabled, "aria-haspopup": "listbox", data: { key } },
    el("span", null, face), el("span", { "aria-hidden": "true" }, "▾"));
  node.addEventListener("click", async () => {
    const values = await menu(node, choices(data), {
      label: data.placeholder ?? "Selection", chosen: chosen.map((option) => option.value),
      min: data.min_values ?? 1, max: data.max_values ?? 1,
    });
    if (values) press(node, message, data.custom_id, values);
  });
  return node;
}

async function press(node, message, customId, values) {
  if (node.getAttribute("aria-busy") === "true") return;
  node.setAttribute("aria-busy", "true");
  store.emit("acted", message.channel_id);
  try {
    await call("POST", "component", { as: store.as, channel_id: message.channel_id, message_id: message.id, custom_id: customId, values });
  } catch (error) {
    toast(error.message);
    store.emit("failed", { channelId: message.channel_id, text: error.message });
  } finally {
    node.removeAttribute("aria-busy");
  }
}

// Lists to choose from: the list over a composer (the focus stays in its input), and menus.

import { el } from "./dom.js";

let counter = 0;

/** A list that an input controls (the ARIA combobox pattern). Items are `{ label, detail, group, value }`. */
export class ListBox {
  constructor(label, onPick) {
    counter += 1;
    this.id = `list-${counter}`;
    this.items = [];
    this.active = -1;
    this.onPick = onPick;
    this.list = el("div", { id: this.id, role: "listbox", class: "list", "aria-label": label });
    this.title = el("div", { class: "list-title" });
    this.node = el("div", { class: "list-box", hidden: true }, this.title, this.list);
    this.input = null;
  }

  get open() {
    return !this.node.hidden && this.items.length > 0;
  }

  /** Makes the list belong to the input. */
  attach(input) {
    if (this.input && this.input !== input) this.input.removeAttribute("aria-activedescendant");
    this.input = input;
    input.setAttribute("role", "combobox");
    input.setAttribute("aria-autocomplete", "list");
    input.setAttribute("aria-controls", this.id);
    input.setAttribute("aria-expanded", String(this.open));
  }

  show(items, { title = [], active = 0 } = {}) {
    this.items = items;
    this.title.replaceChildren(...[title].flat());
    this.title.hidden = this.title.childNodes.length === 0;
    let group = null;
    const nodes = [];
    items.forEach((item, at) => {
      if (item.group && item.group !== group) {
        group = item.group;
        nodes.push(el("div", { class: "list-group", role: "presentation" }, group));
      }
      nodes.push(this.row(item, at));
    });
    this.list.replaceChildren(...nodes);
    this.list.hidden = items.length === 0;
    this.node.hidden = items.length === 0 && this.title.hidden;
    this.activate(Math.min(active, items.length - 1));
  }

  row(item, at) {
    return el("div", { id: `${this.id}-${at}`, role: "option", class: "list-item", "aria-selected": "false",
      on: {
        // The input keeps the focus.
        mousedown: (event) => event.preventDefault(),
        click: () => this.onPick(item),
        mousemove: () => this.active !== at && this.activate(at, false),
      } },
      el("span", { class: "list-label" }, item.label), item.detail && el("span", { class: "list-detail" }, item.detail));
  }

  activate(at, scroll = true) {
    this.list.querySelector("[aria-selected=true]")?.setAttribute("aria-selected", "false");
    this.active = at;
    const node = document.getElementById(`${this.id}-${at}`);
    node?.setAttribute("aria-selected", "true");
    if (scroll) node?.scrollIntoView({ block: "nearest" });
    if (!this.input) return;
    this.input.setAttribute("aria-expanded", String(this.open));
    if (node) this.input.setAttribute("aria-activedescendant", node.id);
    else this.input.removeAttribute("aria-activedescendant");
  }

  move(step) {
    if (!this.open) return false;
    const count = this.items.length;
    this.activate(this.active < 0 ? (step > 0 ? 0 : count - 1) : (this.active + step + count) % count);
    return true;
  }

  get current() {
    return this.open ? this.items[this.active] : undefined;
  }

  hide() {
    this.node.hidden = true;
    this.items = [];
    this.active = -1;
    this.input?.setAttribute("aria-expanded", "false");
    this.input?.removeAttribute("aria-activedescendant");
  }
}

/** A menu at a button; resolves with the chosen items, or null. The keyboard: arrows, Enter, Space,
 * Escape, the first letter, and a digit where an item has one as `key`. */
export function menu(anchor, items, { label, chosen = [], min = 1, max = 1 }) {
  return new Promise((resolve) => {
    const picked = new Set(chosen);
    const list = el("div", { role: "listbox", class: "list", "aria-label": label, "aria-multiselectable": max > 1 ? "true" : null });
    const dialog = el("dialog", { class: "menu" }, list);
    const finish = (result) => {
      dialog.remove();
      if (anchor.isConnected) anchor.focus();
      else if (anchor.dataset.key) document.querySelector(`[data-key="${CSS.escape(anchor.dataset.key)}"]`)?.focus();
      resolve(result);
    };
    const done = el("button", { type: "button", class: "button primary", disabled: picked.size < min || picked.size > max, on: { click: () => finish([...picked]) } }, "Choose");
    const pick = (item, row) => {
      if (max === 1) return finish([item.value]);
      picked[picked.has(item.value) ? "delete" : "add"](item.value);
      row.setAttribute("aria-selected", String(picked.has(item.value)));
      done.disabled = picked.size < min || picked.size > max;
      return undefined;
    };
    const rows = items.map((item) => {
      const row = el("div", { role: "option", tabindex: "-1", class: "list-item", "aria-selected": String(picked.has(item.value)), on: { click: () => pick(item, row) } },
        item.picture, el("span", { class: "list-label" }, item.label), item.detail && el("span", { class: "list-detail" }, item.detail), item.key && el("kbd", null, item.key));
      return row;
    });
    list.append(...rows);
    if (max > 1) dialog.append(el("div", { class: "menu-foot" }, done));
    list.addEventListener("keydown", (event) => {
      const at = rows.indexOf(document.activeElement);
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      const direct = items.findIndex((item) => item.key === event.key);
      if (step) rows[(at + step + rows.length) % rows.length].focus();
      else if ((event.key === "Enter" || event.key === " ") && at >= 0) pick(items[at], rows[at]);
      else if (direct >= 0) pick(items[direct], rows[direct]);
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    dialog.addEventListener("cancel", (event) => (event.preventDefault(), finish(null)));
    dialog.addEventListener("click", (event) => event.target === dialog && finish(null));
    document.body.append(dialog);
    dialog.showModal();
    place(dialog, anchor.getBoundingClientRect());
    (rows[items.findIndex((item) => picked.has(item.value))] ?? rows[0])?.focus();
  });
}

function place(dialog, anchor) {
  const { width, height } = dialog.getBoundingClientRect();
  const left = Math.max(8, Math.min(anchor.left, innerWidth - width - 8));
  const below = anchor.bottom + 4 + height < innerHeight;
  dialog.style.left = `${left}px`;
  dialog.style.top = `${Math.max(8, below ? anchor.bottom + 4 : anchor.top - height - 4)}px`;
}

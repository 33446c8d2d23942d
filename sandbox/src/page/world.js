// The world panel: what the simulation is like, and what can be done to it.

import { ApiError, call } from "./api.js";
import { el, toast } from "./dom.js";
import { store } from "./store.js";

const STATES = new Set(["ok", "warn", "bad", "busy", "off"]);
const REFRESH_MS = 250;
const LOOK_AGAIN_MS = 2000;

export class World {
  constructor(root, onClose) {
    this.root = root;
    this.timer = 0;
    this.shape = "";
    this.body = el("div", { class: "world-body" }, el("p", { class: "loading" }, "Loading …"));
    this.panels = el("div", { class: "world-panels" });
    this.actions = el("div", { class: "world-actions" });
    root.replaceChildren(
      el("header", { class: "pane-head" }, el("h1", { class: "pane-title" }, "The world"), el("span", { class: "tag simulated" }, "SIMULATION"),
        el("div", { class: "pane-buttons" }, el("button", { type: "button", class: "icon", "aria-label": "Close the world panel", on: { click: onClose } }, "✕"))),
      this.body);
    store.on("world", () => this.refreshSoon());
    // Users and nodes come and go by themselves.
    setInterval(() => this.refreshSoon(), LOOK_AGAIN_MS);
  }

  /** Several changes in a row are one look. */
  refreshSoon() {
    if (this.root.hidden || this.timer) return;
    this.timer = setTimeout(() => {
      this.timer = 0;
      this.refresh();
    }, REFRESH_MS);
  }

  async refresh() {
    try {
      this.draw(await call("GET", "world"));
    } catch (error) {
      this.body.replaceChildren(el("p", { class: "loading" }, error instanceof ApiError ? error.message : "The world cannot be read."));
      this.shape = "";
    }
  }

  draw({ panels = [], actions = [] }) {
    this.panels.replaceChildren(...panels.map(panel));
    // Forms are drawn again only when they changed, so that nobody loses what they type.
    const shape = JSON.stringify(actions);
    if (shape !== this.shape) {
      this.shape = shape;
      const groups = Map.groupBy ? Map.groupBy(actions, (one) => one.group ?? "Actions") : group(actions);
      this.actions.replaceChildren(...[...groups].map(([title, list]) => el("section", { class: "world-group", data: { group: title } }, el("h2", null, title), list.map(action))));
    }
    const note = el("p", { class: "world-note" }, "Everything here is pretend. Look at it, and break it to see how the bot copes.");
    const parts = [note, this.panels, this.actions];
    if (panels.length + actions.length === 0) parts.push(el("p", { class: "loading" }, "The world is empty so far."));
    if (!this.panels.isConnected) this.body.replaceChildren(...parts);
  }
}

function group(actions) {
  const groups = new Map();
  for (const one of actions) {
    const title = one.group ?? "Actions";
    groups.set(title, [...(groups.get(title) ?? []), one]);
  }
  return groups;
}

function panel({ title, rows = [] }) {
  return el("section", { class: "world-panel" }, el("h2", null, title),
    rows.length === 0 ? el("p", { class: "empty" }, "none") : el("dl", null, rows.map(([label, value, state]) => el("div", { class: "world-row" },
      el("dt", null, String(label ?? "")), el("dd", { class: STATES.has(state) ? `state-${state}` : null, title: state }, String(value ?? ""))))));
}

function action(data) {
  const args = (data.args ?? []).map(arg);
  const button = el("button", { type: "submit", class: data.danger ? "button danger" : "button secondary" }, args.length ? "Do it" : data.title);
  const form = el("form", { class: "world-form", data: { action: data.id } }, args.map((one) => one.node), button);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (data.danger && !(await confirmed(data.title))) return;
    button.disabled = true;
    try {
      const answer = await call("POST", "world", { action: data.id, args: Object.fromEntries(args.map((one) => [one.name, one.value()])) });
      toast(answer?.text ?? "Done", "info");
      store.emit("world");
    } catch (error) {
      toast(error.message);
    } finally {
      button.disabled = false;
    }
  });
  return args.length ? el("details", { class: "world-action" }, el("summary", null, data.title), form) : form;
}

function arg(data) {
  const id = `arg-${crypto.randomUUID()}`;
  const input = data.kind === "choice"
    ? el("select", { id }, (data.choices ?? []).map((choice) => el("option", { value: choice.value ?? choice }, String(choice.name ?? choice))))
    : el("input", { id, type: data.kind === "number" ? "number" : "text", step: "any", autocomplete: "off" });
  if (data.default !== undefined) input.value = String(data.default);
  const value = () => (data.kind === "number" && input.value !== "" ? Number(input.value) : input.value);
  return { name: data.name, value, node: el("label", { class: "world-arg", for: id }, el("span", null, data.title ?? data.name), input) };
}

function confirmed(title) {
  return new Promise((resolve) => {
    const finish = (answer) => {
      dialog.remove();
      resolve(answer);
    };
    const dialog = el("dialog", { class: "modal", "aria-label": "Confirm" }, el("h2", null, title), el("p", { class: "dialog-note" }, "This breaks something in the simulation. Nothing real is touched."),
      el("div", { class: "dialog-buttons" }, el("button", { type: "button", class: "button text", on: { click: () => finish(false) } }, "Cancel"),
        el("button", { type: "button", class: "button danger", on: { click: () => finish(true) } }, "Do it")));
    dialog.addEventListener("cancel", () => finish(false));
    document.body.append(dialog);
    dialog.showModal();
  });
}

// A modal of the bot: text inputs in a dialog.

import { call } from "./api.js";
import { el } from "./dom.js";
import { store } from "./store.js";

const PARAGRAPH = 2;
const MAX_LENGTH = 4000;

/** Shows the modal; `data` is the `modal` event. */
export function showModal(data, channelId) {
  const as = store.as;
  const fields = inputs(data.components).map(field);
  const error = el("p", { class: "form-error", role: "alert" });
  const submit = el("button", { type: "submit", class: "button primary" }, "Submit");
  const close = () => dialog.remove();
  const form = el("form", { novalidate: true }, fields.map((one) => one.node), error,
    el("div", { class: "dialog-buttons" }, el("button", { type: "button", class: "button text", on: { click: close } }, "Cancel"), submit));
  const dialog = el("dialog", { class: "modal", "aria-labelledby": `title-${data.interaction_id}` },
    el("h2", { id: `title-${data.interaction_id}` }, data.title),
    el("p", { class: "dialog-note" }, "This form goes to ", el("b", null, store.person(store.botUserId)?.display_name ?? "the bot"), ". Simulation: don't type a real secret."), form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    error.textContent = "";
    const wrong = fields.filter((one) => !one.check());
    if (wrong.length) {
      wrong[0].input.focus();
      return;
    }
    submit.disabled = true;
    const values = Object.fromEntries(fields.map((one) => [one.id, one.input.value]));
    try {
      await call("POST", "modal", { as, channel_id: channelId, interaction_id: data.interaction_id, custom_id: data.custom_id, fields: values });
      close();
    } catch (problem) {
      error.textContent = problem.message;
      submit.disabled = false;
    }
  });
  dialog.addEventListener("cancel", close);
  document.body.append(dialog);
  dialog.showModal();
  (fields[0]?.input ?? submit).focus();
}

/** The text inputs, in action rows or in labels. */
function inputs(components) {
  return (components ?? []).flatMap((row) => {
    if (row.type === 4) return [row];
    if (row.type === 18 && row.component) return [{ ...row.component, label: row.label }];
    return inputs(row.components);
  });
}

function field(data) {
  const id = `field-${data.custom_id}`;
  const max = data.max_length ?? MAX_LENGTH;
  const required = data.required !== false;
  const shared = { id, name: data.custom_id, maxlength: String(max), placeholder: data.placeholder, autocomplete: "off", spellcheck: "false", required, "aria-describedby": `${id}-note` };
  const input = data.style === PARAGRAPH ? el("textarea", { ...shared, rows: "5" }) : el("input", { ...shared, type: "text" });
  input.value = data.value ?? "";
  const note = el("p", { class: "field-note", id: `${id}-note` });
  const show = (problem) => {
    input.setAttribute("aria-invalid", String(Boolean(problem)));
    note.classList.toggle("wrong", Boolean(problem));
    note.textContent = problem || (input.value.length > max - 100 || max <= 300 ? `${input.value.length} of at most ${max} characters` : "");
  };
  const check = () => {
    const { length } = input.value;
    const min = data.min_length ?? 0;
    const problem = length === 0 ? required && "This field is required" : length < min && `At least ${min} characters, now ${length}`;
    show(problem);
    return !problem;
  };
  input.addEventListener("input", () => show(""));
  show("");
  const node = el("div", { class: "field-row" }, el("label", { for: id }, data.label ?? data.custom_id, required && el("span", { class: "star", "aria-label": "required" }, " *")), input, note);
  return { id: data.custom_id, input, node, check };
}

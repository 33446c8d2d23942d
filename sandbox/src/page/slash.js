// The form into which a composer turns once a command is chosen: one pill for each option.
// Keys: Tab and Enter take the marked suggestion and go on, Enter sends when nothing is missing,
// Escape closes the list and then the form, Backspace in an empty pill takes it away.

import { call, upload } from "./api.js";
import { TYPES, check, choicesOf, nested } from "./command.js";
import { el } from "./dom.js";
import { store } from "./store.js";

const DEBOUNCE_MS = 200;
const SHOWN = 25;

export class SlashForm {
  /** `composer` has `list`, `channelId`, `problem(text)`, `leaveCommand(text)` and `send(leaf, options)`. */
  constructor(composer, leaf) {
    this.composer = composer;
    this.leaf = leaf;
    this.pills = [];
    this.asked = 0;
    this.timer = 0;
    this.sent = false;
    // The pill whose completions the list shows.
    this.suggesting = null;
    this.tail = el("input", { class: "slash-tail", type: "text", autocomplete: "off", spellcheck: "false" });
    this.tail.addEventListener("focus", () => this.showOptional());
    this.tail.addEventListener("input", () => this.onTailInput());
    this.tail.addEventListener("keydown", (event) => this.onTailKey(event));
    this.row = el("div", { class: "slash", role: "group", "aria-label": `${leaf.title}: ${leaf.description}` },
      el("span", { class: "slash-name", title: leaf.description }, leaf.title), this.tail);
    this.row.addEventListener("focusout", (event) => {
      if (!this.row.contains(event.relatedTarget)) composer.list.hide();
    });
    for (const option of leaf.options.filter((one) => one.required)) this.addPill(option);
    this.relabel();
  }

  /** The values that were typed or pasted with the command's name. */
  fill(values) {
    for (const [name, text] of values) {
      const option = this.leaf.options.find((one) => one.name === name);
      const pill = this.pill(name) ?? this.addPill(option);
      this.setText(pill, text);
    }
    this.relabel();
  }

  pill(name) {
    return this.pills.find((one) => one.option.name === name);
  }

  addPill(option) {
    const input = el("input", { type: "text", class: "pill-value", autocomplete: "off", spellcheck: "false", size: "3",
      "aria-label": `${option.name}: ${option.description}${option.required ? " (required)" : ""}` });
    const node = el("label", { class: "pill", data: { option: option.name } }, el("span", { class: "pill-name", "aria-hidden": "true" }, option.name), input);
    const pill = { option, input, node, chosen: null, touched: false };
    input.addEventListener("focus", () => this.onFocus(pill));
    input.addEventListener("blur", () => this.onBlur(pill));
    input.addEventListener("input", () => this.onInput(pill));
    input.addEventListener("keydown", (event) => this.onKey(event, pill));
    if (option.type === TYPES.attachment) this.takesFile(pill);
    this.pills.push(pill);
    this.tail.before(node);
    return pill;
  }

  /** The pill opens the browser's choice of files and shows the name of the chosen one. */
  takesFile(pill) {
    const file = el("input", { type: "file", class: "pill-file", tabindex: "-1", "aria-hidden": "true" });
    pill.input.readOnly = true;
    pill.input.placeholder = "choose a file";
    pill.input.size = pill.input.placeholder.length;
    pill.input.addEventListener("click", () => file.click());
    pill.input.addEventListener("keydown", (event) => {
      if (event.key === " ") file.click();
    });
    file.addEventListener("change", async () => {
      const [given] = file.files;
      if (!given) return;
      try {
        this.setText(pill, given.name, { name: given.name, value: await upload(given) });
        pill.node.classList.add("given");
        this.composer.problem(undefined);
      } catch (error) {
        this.composer.problem(error.message, pill.option.name);
      }
      pill.input.focus();
    });
    pill.node.append(file);
  }

  removePill(pill) {
    this.pills.splice(this.pills.indexOf(pill), 1);
    pill.node.remove();
    this.relabel();
  }

  remaining() {
    return this.leaf.options.filter((one) => !this.pill(one.name));
  }

  relabel() {
    const count = this.remaining().length;
    this.tail.placeholder = count ? `+${count} optional` : "Enter sends";
    this.tail.setAttribute("aria-label", count ? `${count} more options of ${this.leaf.title}; Enter sends` : `Enter sends ${this.leaf.title}`);
  }

  setText(pill, text, chosen = null) {
    pill.input.value = text;
    pill.chosen = chosen;
    this.fit(pill);
  }

  fit(pill) {
    pill.input.size = Math.min(60, Math.max(3, pill.input.value.length + 1));
    pill.node.classList.toggle("wrong", pill.touched && this.problemOf(pill) !== undefined);
  }

  problemOf(pill) {
    return check(pill.option, pill.input.value.trim(), pill.chosen).problem;
  }

  /** The focus goes to the first required option without a value, else to the end. */
  focus() {
    const empty = this.pills.find((one) => one.option.required && one.input.value === "");
    (empty?.input ?? this.tail).focus();
  }

  onFocus(pill) {
    const { option } = pill;
    this.composer.list.attach(pill.input);
    this.composer.problem(pill.touched ? this.problemOf(pill) : undefined, option.name);
    this.suggest(pill);
  }

  onBlur(pill) {
    clearTimeout(this.timer);
    this.asked += 1;
    pill.touched = pill.touched || pill.input.value !== "";
    this.fit(pill);
  }

  onInput(pill) {
    pill.chosen = null;
    // Typing `host:` inside of a value goes on to that option, as in one long line of text.
    const next = /^(?:([\s\S]*)\s)?([^\s:]+):$/.exec(pill.input.value);
    const option = next && this.leaf.options.find((one) => one.name === next[2]);
    const free = option && (option.name === pill.option.name ? !next[1] : !this.pill(option.name)?.input.value);
    if (free) {
      this.setText(pill, (next[1] ?? "").trim());
      const target = this.pill(option.name) ?? this.addPill(option);
      if (!pill.option.required && pill.input.value === "" && target !== pill) this.removePill(pill);
      this.relabel();
      target.input.focus();
      return;
    }
    this.fit(pill);
    this.composer.problem(pill.touched ? this.problemOf(pill) : undefined, pill.option.name);
    this.suggest(pill);
  }

  /** Shows what an option can be: fixed choices, or what the bot suggests. */
  suggest(pill) {
    const { option } = pill;
    const title = [el("b", null, option.name), " ", option.description, option.required ? "" : el("span", { class: "list-hint" }, " optional")];
    clearTimeout(this.timer);
    this.asked += 1;
    const before = this.suggesting;
    this.suggesting = null;
    const choices = choicesOf(option);
    if (choices) {
      const typed = pill.input.value.trim().toLowerCase();
      const exact = choices.some((one) => one.name.toLowerCase() === typed);
      const found = choices.filter((one) => exact || one.name.toLowerCase().includes(typed));
      const active = exact ? choices.findIndex((one) => one.name.toLowerCase() === typed) : 0;
      this.composer.list.show(found.slice(0, SHOWN).map(item), { title, active });
    } else if (option.autocomplete) {
      // What the list still shows of another option, or of the command, is no value of this one.
      if (before !== pill || !this.composer.list.open) this.composer.list.show([], { title });
      this.suggesting = pill;
      this.timer = setTimeout(() => this.ask(pill, title), DEBOUNCE_MS);
    } else this.composer.list.show([], { title });
  }

  async ask(pill, title) {
    this.asked += 1;
    const mine = this.asked;
    const others = this.pills.filter((one) => one !== pill).map((one) => ({ one, ...check(one.option, one.input.value.trim(), one.chosen) }))
      .filter(({ value }) => value !== undefined).map(({ one, value }) => ({ name: one.option.name, type: one.option.type, value }));
    const focused = { name: pill.option.name, type: pill.option.type, value: pill.input.value, focused: true };
    let choices = [];
    let hint = "";
    try {
      const answer = await call("POST", "autocomplete", { as: store.as, channel_id: this.composer.channelId, command_id: this.leaf.id, options: nested(this.leaf, [...others, focused]) });
      choices = answer?.choices ?? [];
    } catch {
      hint = "Loading options failed";
    }
    if (mine !== this.asked || document.activeElement !== pill.input) return;
    const same = choices.findIndex((one) => one.name === pill.input.value);
    // Nothing is marked, so that Enter keeps what was typed; Tab or an arrow takes a suggestion.
    this.composer.list.show(choices.slice(0, SHOWN).map(item), { title: hint ? [...title, el("span", { class: "list-hint" }, ` ${hint}`)] : title, active: same });
  }

  pick(chosen) {
    const pill = this.pills.find((one) => one.input === document.activeElement);
    if (pill) {
      this.setText(pill, chosen.name ?? String(chosen.value), chosen);
      pill.touched = true;
      this.fit(pill);
      this.onward(pill);
    } else if (chosen.option) this.addOptional(chosen.option);
  }

  addOptional(option) {
    this.tail.value = "";
    const pill = this.addPill(option);
    this.relabel();
    pill.input.focus();
  }

  /** To the next pill without a value, else to the end. */
  onward(pill) {
    const after = this.pills.slice(this.pills.indexOf(pill) + 1);
    const next = after.find((one) => one.input.value === "") ?? this.pills.find((one) => one.option.required && one.input.value === "" && one !== pill);
    (next?.input ?? this.tail).focus();
  }

  onKey(event, pill) {
    const { list } = this.composer;
    const { input } = pill;
    const at = this.pills.indexOf(pill);
    if (event.isComposing) return;
    if ((event.key === "ArrowDown" || event.key === "ArrowUp") && list.open) list.move(event.key === "ArrowDown" ? 1 : -1);
    else if (event.key === "Tab" && event.shiftKey) {
      if (at === 0) return;
      this.pills[at - 1].input.focus();
    } else if (event.key === "Tab") this.takeOrGoOn(pill);
    else if (event.key === "Enter") this.onEnter(pill);
    else if (event.key === "Escape") this.onEscape(event);
    else if (event.key === "Backspace" && input.value === "") this.onBackspace(pill, at);
    else if (event.key === "ArrowLeft" && input.selectionEnd === 0 && at > 0) this.pills[at - 1].input.focus();
    else if (event.key === "ArrowRight" && input.selectionStart === input.value.length) (this.pills[at + 1]?.input ?? this.tail).focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  takeOrGoOn(pill) {
    const { list } = this.composer;
    const typed = pill.input.value.trim().toLowerCase();
    const free = !choicesOf(pill.option);
    const first = list.open && free && typed && list.active < 0 ? list.items.find((one) => one.value.name?.toLowerCase().startsWith(typed)) : null;
    const chosen = first ?? list.current;
    if (chosen && !(choicesOf(pill.option) && typed === "" && !pill.option.required)) this.pick(chosen.value);
    else this.onward(pill);
  }

  onEnter(pill) {
    const chosen = this.composer.list.current;
    const taken = pill.chosen === chosen?.value || chosen?.value.name?.toLowerCase() === pill.input.value.trim().toLowerCase();
    if (chosen && !taken) this.pick(chosen.value);
    else this.submit();
  }

  onEscape(event) {
    event.stopPropagation();
    if (this.composer.list.open) this.composer.list.hide();
    else this.composer.leaveCommand("");
  }

  onBackspace(pill, at) {
    if (pill.option.required) {
      if (at === 0) this.composer.leaveCommand(this.leaf.title);
      else this.pills[at - 1].input.focus();
      return;
    }
    this.removePill(pill);
    (this.pills[at - 1]?.input ?? this.tail).focus();
  }

  showOptional() {
    this.suggesting = null;
    const typed = this.tail.value.trim().toLowerCase();
    const found = this.remaining().filter((one) => one.name.includes(typed) || one.description.toLowerCase().includes(typed));
    found.sort((a, b) => Number(b.name.startsWith(typed)) - Number(a.name.startsWith(typed)));
    this.composer.list.attach(this.tail);
    this.composer.problem(undefined);
    const title = [el("b", null, this.leaf.title), " ", this.leaf.description, el("span", { class: "list-hint" }, found.length ? " Enter sends, ↓ or a name adds an option" : " Enter sends")];
    this.composer.list.show(found.map((option) => ({ label: option.name, detail: option.description, value: { option } })), { title, active: typed ? 0 : -1 });
  }

  onTailInput() {
    const name = /^\s*([^\s:]+):$/.exec(this.tail.value)?.[1];
    const option = name && this.leaf.options.find((one) => one.name === name);
    if (!option) return this.showOptional();
    this.tail.value = "";
    const pill = this.pill(name);
    if (pill) pill.input.focus();
    else this.addOptional(option);
    return undefined;
  }

  onTailKey(event) {
    const { list } = this.composer;
    if (event.isComposing) return;
    if ((event.key === "ArrowDown" || event.key === "ArrowUp") && list.open) list.move(event.key === "ArrowDown" ? 1 : -1);
    else if ((event.key === "Tab" && !event.shiftKey || event.key === "Enter") && list.current) this.pick(list.current.value);
    else if (event.key === "Enter") this.submit();
    else if (event.key === "Escape") this.onEscape(event);
    else if ((event.key === "Backspace" || event.key === "ArrowLeft") && this.tail.value === "") {
      if (this.pills.length) this.pills.at(-1).input.focus();
      else if (event.key === "Backspace") this.composer.leaveCommand(this.leaf.title);
    } else if (event.key === "Tab" && event.shiftKey && this.pills.length) this.pills.at(-1).input.focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** Sends the command, or goes to the first option that is wrong. */
  submit() {
    if (this.sent) return;
    const values = [];
    for (const pill of this.pills) {
      pill.touched = true;
      this.fit(pill);
    }
    if (this.tail.value.trim()) {
      this.composer.problem(`${this.leaf.title} has no option called “${this.tail.value.trim()}”`);
      this.tail.focus();
      return;
    }
    for (const pill of this.pills) {
      const { value, problem } = check(pill.option, pill.input.value.trim(), pill.chosen);
      if (problem) {
        pill.input.focus();
        this.composer.problem(problem, pill.option.name);
        return;
      }
      if (value !== undefined) values.push({ name: pill.option.name, type: pill.option.type, value });
    }
    this.sent = true;
    this.composer.send(this.leaf, nested(this.leaf, values)).finally(() => {
      this.sent = false;
    });
  }
}

function item(choice) {
  const detail = typeof choice.value === "string" && choice.value !== choice.name && !/^\d{15,}$/.test(choice.value) ? choice.value : "";
  return { label: choice.name, detail, value: choice };
}

export { TYPES };

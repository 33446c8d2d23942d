// The grammar of slash commands, without any drawing: which commands there are, what a text means,
// and whether Discord's client would send it.

import { store } from "./store.js";

export const TYPES = { subcommand: 1, group: 2, string: 3, integer: 4, boolean: 5, user: 6, channel: 7, role: 8, mentionable: 9, number: 10, attachment: 11 };
const MAX_STRING = 6000;

/** Every command that can be run, as `{ id, path, title, description, options, node }`. */
export function leaves(commands) {
  const found = [];
  for (const command of commands) {
    if ((command.type ?? 1) !== 1) continue;
    walk(command, command.options ?? [], [command.name], (path, node) => {
      found.push({ id: command.id, path, title: `/${path.join(" ")}`, description: node.description ?? "", options: node.options ?? [] });
    });
  }
  return found;
}

function walk(node, options, path, add) {
  const nested = options.filter((one) => one.type === TYPES.subcommand || one.type === TYPES.group);
  if (nested.length === 0) add(path, node);
  for (const one of nested) walk(one, one.options ?? [], [...path, one.name], add);
}

/** The commands that a text such as `/pan dep` can mean, best first. */
export function matching(all, text) {
  const typed = text.replace(/^\//, "").toLowerCase().trim().replace(/\s+/g, " ");
  if (!typed) return all;
  const words = typed.split(" ");
  const rank = (leaf) => {
    const title = leaf.title.slice(1).toLowerCase();
    if (title.startsWith(typed)) return 0;
    if (words.every((word) => leaf.path.some((part) => part.toLowerCase().startsWith(word)))) return 1;
    return words.every((word) => title.includes(word)) ? 2 : 3;
  };
  return all.map((leaf) => [rank(leaf), leaf]).filter(([r]) => r < 3).sort(([a], [b]) => a - b).map(([, leaf]) => leaf);
}

/** The command that the text names in full, and what follows it; null if there is none. */
export function named(all, text) {
  const typed = text.replace(/\s+/g, " ");
  const found = all.filter((leaf) => typed === leaf.title || typed.startsWith(`${leaf.title} `)).sort((a, b) => b.path.length - a.path.length)[0];
  return found ? { leaf: found, rest: typed.slice(found.title.length).trim(), open: typed !== found.title } : null;
}

/** `name:geo purpose:a course` → values by option name, and the words that belong to none. */
export function parseOptions(leaf, text) {
  const values = new Map();
  const names = leaf.options.map((option) => option.name);
  let current = null;
  let stray = "";
  for (const part of splitQuoted(text)) {
    const at = part.indexOf(":");
    const name = at > 0 ? part.slice(0, at) : "";
    if (names.includes(name) && !values.has(name)) {
      current = name;
      values.set(name, part.slice(at + 1));
    } else if (current) values.set(current, `${values.get(current)} ${part}`);
    else stray += ` ${part}`;
  }
  for (const [name, value] of values) values.set(name, unquote(value.trim()));
  return { values, stray: stray.trim() };
}

/** Words, where a quoted part counts as one. */
function splitQuoted(text) {
  return text.match(/(?:[^\s"]+:)?"[^"]*"(?=\s|$)|\S+/g) ?? [];
}

function unquote(value) {
  return /^".*"$/s.test(value) && value.length > 1 ? value.slice(1, -1) : value;
}

/** The fixed choices of an option: `{ name, value }`; null if it is free. */
export function choicesOf(option) {
  if (option.choices?.length) return option.choices;
  if (option.type === TYPES.boolean) return [{ name: "True", value: true }, { name: "False", value: false }];
  const people = () => [...store.people.values()].map((one) => ({ name: `@${one.display_name}`, value: one.id }));
  const roles = () => [...store.roles.values()].map((one) => ({ name: `@${one.name}`, value: one.id }));
  if (option.type === TYPES.user) return people();
  if (option.type === TYPES.role) return roles();
  if (option.type === TYPES.mentionable) return [...people(), ...roles()];
  if (option.type === TYPES.channel) return [...store.channels.values()].filter((one) => one.type !== 1).map((one) => ({ name: `#${one.name}`, value: one.id }));
  return null;
}

/** What an input means: `{ value }`, `{ problem }`, or `{}` if nothing was given. `chosen` is the
 * completion that was picked, if any. */
export function check(option, text, chosen) {
  if (text === "" && !chosen) return option.required ? { problem: "This option is required. Specify a value" } : {};
  if (option.type === TYPES.attachment) return chosen ? { value: chosen.value } : { problem: "Choose a file" };
  const choices = choicesOf(option);
  if (choices) {
    const typed = text.trim().toLowerCase();
    const same = choices.find((one) => one.name.toLowerCase() === typed) ?? choices.find((one) => one.name.toLowerCase().replace(/^[@#]/, "") === typed || String(one.value).toLowerCase() === typed || `<@${one.value}>` === typed);
    return same ? { value: same.value } : { problem: "Input a valid choice" };
  }
  const value = chosen ? chosen.value : text;
  if (option.type === TYPES.integer || option.type === TYPES.number) return checkNumber(option, value);
  return checkText(option, String(value));
}

function checkNumber(option, value) {
  const kind = option.type === TYPES.integer ? "integer" : "number";
  const shape = kind === "integer" ? /^[+-]?\d{1,16}$/ : /^[+-]?\d{1,16}(\.\d{1,12})?$/;
  if (!shape.test(String(value).trim())) return { problem: `Input a valid ${kind}` };
  const number = Number(value);
  if (Math.abs(number) > 2 ** 53) return { problem: `Input a valid ${kind}` };
  if (option.min_value !== undefined && number < option.min_value) return { problem: `Input a number greater than or equal to ${option.min_value}` };
  if (option.max_value !== undefined && number > option.max_value) return { problem: `Input a number less than or equal to ${option.max_value}` };
  return { value: number };
}

function checkText(option, value) {
  const max = option.max_length ?? MAX_STRING;
  const length = [...value].length;
  if (option.min_length !== undefined && length < option.min_length) return { problem: `Input at least ${option.min_length} characters` };
  if (length > max) return { problem: `Input at most ${max} characters (now ${length})` };
  return { value };
}

/** The `options` of the page API: the values inside of the sub-command and its group. */
export function nested(leaf, values) {
  const below = leaf.path.slice(1);
  let options = values;
  for (let at = below.length - 1; at >= 0; at -= 1) {
    const type = at === below.length - 1 ? TYPES.subcommand : TYPES.group;
    options = [{ type, name: below[at], options }];
  }
  return options;
}

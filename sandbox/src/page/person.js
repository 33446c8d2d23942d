// Who acts: kept in the hash of the address, as `#as=ana&in=123`, so that a link or a second window
// can be another person.

import { avatar, el } from "./dom.js";
import { menu } from "./popup.js";
import { store } from "./store.js";

/** What the address says: the person's user name and the channel. */
export function readHash() {
  const hash = new URLSearchParams(location.hash.slice(1));
  return { as: hash.get("as"), channelId: hash.get("in") };
}

/** Writes who acts and where into the address, without an entry in the history for each. */
export function writeHash(channelId) {
  const hash = `#as=${encodeURIComponent(store.me()?.username ?? "")}${channelId ? `&in=${channelId}` : ""}`;
  if (location.hash !== hash) history.replaceState(null, "", hash);
}

/** The people that can be played; bots cannot. */
export function players() {
  return [...store.people.values()].filter((person) => !person.bot);
}

/** The person that the address names, else the first. */
export function fromHash() {
  const { as } = readHash();
  return players().find((person) => person.username === as || person.id === as) ?? players()[0];
}

export function showPerson(button) {
  const me = store.me();
  const roles = store.roleNames(me).join(", ") || "no role";
  button.replaceChildren(avatar(me, true), el("span", null, "You are: ", el("b", null, me?.display_name ?? "?"), ` (${roles}) ▾`), el("kbd", null, "Alt+P"));
}

/** Asks who shall act; null if nothing changes. */
export async function askPerson(anchor) {
  const items = players().map((person, at) => ({
    label: person.display_name, detail: store.roleNames(person).join(", ") || "no role",
    value: person.id, picture: avatar(person, true), key: at < 9 ? String(at + 1) : undefined,
  }));
  const picked = await menu(anchor, items, { label: "Act as", chosen: [store.as] });
  return picked && picked[0] !== store.as ? picked[0] : null;
}

// Follows one log of a cluster.
// Every text is set by textContent; nothing that comes from outside is ever read as HTML.

const MAX_LINES = 20_000;
const EVERY_MS = 2000;

const $ = (id) => document.getElementById(id);
const log = $("log");
const here = location.pathname.replace(/\/$/, "");
let last = 0;

async function look() {
  const query = new URLSearchParams(location.search);
  query.set("after", String(last));
  let shown;
  try {
    const answer = await fetch(`${here}/lines?${query}`, { cache: "no-store" });
    if (answer.status === 403 || answer.status === 404) {
      tell("The link has expired. Ask for the log again in the channel.");
      return;
    }
    if (!answer.ok) throw new Error(String(answer.status));
    shown = await answer.json();
    tell("");
  } catch {
    tell("The connection was lost; trying again …");
    setTimeout(look, 2 * EVERY_MS);
    return;
  }
  show(shown);
  if (!shown.ended) setTimeout(look, shown.lines.length ? 200 : EVERY_MS);
}

function tell(text) {
  $("connection").textContent = text;
  $("connection").hidden = !text;
}

function show(shown) {
  const title = `${shown.cluster}: log of ${shown.source}`;
  $("title").textContent = title;
  document.title = title;
  const until = new Date(shown.follow_until).toLocaleTimeString();
  $("state").textContent = shown.ended
    ? shown.problem ? `no longer followed: ${shown.problem}` : "no longer followed"
    : shown.waits
      ? "begins in some seconds"
      : `followed until ${until}`;
  for (const { line, text } of shown.lines) {
    log.append(`${text}\n`);
    last = line;
  }
  while (log.childNodes.length > MAX_LINES) log.firstChild.remove();
  if ($("follow").checked && shown.lines.length) log.scrollTop = log.scrollHeight;
}

look();

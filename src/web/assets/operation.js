// Follows one operation: its steps, its state and its log.
// Every text is set by textContent; nothing that comes from outside is ever read as HTML.

const MAX_LINES = 20_000;
const MARKS = { pending: "·", running: "▸", done: "✓", failed: "✗", undone: "↩", left: "!" };

const $ = (id) => document.getElementById(id);
const log = $("log");
const here = location.pathname.replace(/\/$/, "");

let operation = null;
let lastLine = 0;
let source = null;

$("download").href = `${here}/log${location.search}`;

function connect() {
  log.ariaBusy = "true";
  const query = new URLSearchParams(location.search);
  query.set("after", String(lastLine));
  source = new EventSource(`${here}/events?${query}`);
  source.addEventListener("open", () => tell(""));
  source.addEventListener("operation", (event) => show(JSON.parse(event.data)));
  source.addEventListener("lines", (event) => append(JSON.parse(event.data)));
  source.addEventListener("end", () => {
    source.close();
    log.ariaBusy = "false";
  });
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) {
      // The link may have expired, or too many look: only a reload can tell.
      tell("The connection was refused. Load the page again; if its link has expired, ask for a new one in the channel.");
    } else {
      tell("The connection was lost; trying again …");
    }
  });
}

function tell(text) {
  $("connection").textContent = text;
  $("connection").hidden = text === "";
}

function element(name, className, text) {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

function show(now) {
  operation = now;
  const title = `${now.undoing ? "undo " : ""}${now.command} ${now.target}`;
  $("title").textContent = title;
  document.title = `${now.state}: ${title}`;
  $("state").textContent = now.state;
  $("state").dataset.state = now.state;
  for (const [id, text] of [["reason", now.reason], ["hint", now.hint]]) {
    $(id).textContent = text ?? "";
    $(id).hidden = !text;
  }
  // An undo has to do only with the steps that had begun.
  const counted = now.undoing ? ["undone", "left"] : ["done"];
  const begun = now.steps.filter((step) => !now.undoing || step.state !== "pending");
  const done = begun.filter((step) => counted.includes(step.state)).length;
  $("progress").max = Math.max(begun.length, 1);
  $("progress").value = begun.length > 0 ? done : 1;
  $("progress").textContent = `${done} of ${begun.length}`;
  $("steps").replaceChildren(...now.steps.map(stepElement));
  showTimes();
}

function stepElement(step) {
  const item = element("li", "", "");
  item.dataset.state = step.state;
  const mark = element("span", "mark", MARKS[step.state] ?? "?");
  mark.setAttribute("aria-label", step.state);
  mark.setAttribute("role", "img");
  const again = step.attempts > 1 ? ` (attempt ${step.attempts})` : "";
  item.append(mark, element("span", "name", step.name + again), element("span", "time", ""));
  if (step.note && step.state === "running") item.append(element("span", "note", step.note));
  if (step.error) item.append(element("span", "error", step.error));
  return item;
}

function duration(from, to) {
  const seconds = Math.max(0, Math.round(((to ? new Date(to) : new Date()) - new Date(from)) / 1000));
  const two = (number) => String(number).padStart(2, "0");
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}

function showTimes() {
  if (!operation) return;
  const from = operation.started_at;
  $("elapsed").textContent = from ? `${duration(from, operation.ended_at)} since ${from.slice(0, 16).replace("T", " ")} UTC` : "";
  operation.steps.forEach((step, index) => {
    const time = $("steps").children[index]?.querySelector(".time");
    const running = step.state === "running";
    if (time && step.began_at && (running || step.ended_at)) {
      time.textContent = duration(step.began_at, running && !operation.ended ? null : step.ended_at ?? operation.ended_at);
    }
  });
}

function append(lines) {
  const made = document.createDocumentFragment();
  for (const line of lines) {
    if (line.line <= lastLine) continue;
    lastLine = line.line;
    const row = document.createElement("div");
    const time = element("time", "", line.at.slice(11, 19));
    time.dateTime = line.at;
    time.title = line.at;
    row.append(time, " ", element("span", "step", line.step), " ", line.text);
    made.append(row);
  }
  log.append(made);
  while (log.childElementCount > MAX_LINES) {
    log.firstElementChild.remove();
    $("earlier").hidden = false;
  }
  if ($("follow").checked) log.scrollTop = log.scrollHeight;
}

// Scrolling up by hand stops following; scrolling to the end takes it up again.
log.addEventListener("scroll", () => {
  $("follow").checked = log.scrollHeight - log.scrollTop - log.clientHeight < 8;
});
$("follow").addEventListener("change", () => {
  if ($("follow").checked) log.scrollTop = log.scrollHeight;
});

setInterval(() => {
  if (operation && !operation.ended) showTimes();
}, 1000);
connect();

// The page API of the sandbox's Discord server: calls, and the stream of events.

const TIMEOUT_MS = 20_000;

/** A refusal; its message is for the person. */
export class ApiError extends Error {}

/** Calls the page API; throws an ApiError whose message can be shown. */
export async function call(method, path, body) {
  let response;
  try {
    response = await fetch(`/sandbox/api/${path}`, {
      method,
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
  } catch {
    throw new ApiError("The sandbox does not answer. Is it still running?");
  }
  const text = await response.text();
  let answer = null;
  try {
    answer = text ? JSON.parse(text) : null;
  } catch {
    // An answer that is not JSON has no text for the person.
  }
  if (!response.ok) throw new ApiError(answer?.error ?? `The sandbox answered ${response.status}.`);
  return answer;
}

/** Gives a file to Discord; its id, by which a command names it. */
export async function upload(file) {
  let response;
  try {
    response = await fetch(`/sandbox/api/file?name=${encodeURIComponent(file.name)}`, { method: "POST", body: file, signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch {
    throw new ApiError("The sandbox does not answer. Is it still running?");
  }
  if (!response.ok) throw new ApiError(`The sandbox does not take the file (${response.status}).`);
  return (await response.json()).id;
}

const KINDS = ["message", "message_delete", "channel", "channel_delete", "commands", "bot", "modal", "interaction_failed", "world"];

/** Follows the events for one person. `handlers[kind](data)`; `handlers.open(again)` on each
 * (re)connection, `handlers.lost()` when it broke. Returns a function that ends it. */
export function follow(as, handlers) {
  let source = null;
  let ended = false;
  let connections = 0;
  const connect = () => {
    if (ended) return;
    source = new EventSource(`/sandbox/api/events?as=${encodeURIComponent(as)}`);
    source.addEventListener("open", () => {
      connections += 1;
      handlers.open(connections > 1);
    });
    source.addEventListener("error", () => {
      handlers.lost();
      // The browser gives up for good on an answer that is not a stream, such as 502.
      if (source.readyState === EventSource.CLOSED) setTimeout(connect, 2000);
    });
    for (const kind of KINDS) {
      source.addEventListener(kind, (event) => {
        if (ended) return;
        let data = null;
        try {
          data = event.data ? JSON.parse(event.data) : null;
        } catch {
          console.warn(`the event ${kind} is not JSON`);
          return;
        }
        handlers[kind](data);
      });
    }
  };
  connect();
  return () => {
    ended = true;
    source.close();
  };
}

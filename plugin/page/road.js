// The way to the model: a request to Label Studio's own address, an answer that comes line by line.

/** Ask, and call `tell` with every event as it comes; "away" is one too. Never throws. */
export async function ask(here, body, tell) {
  try {
    const response = await post(here, "assist", body);
    if (!response.ok) {
      // 404: the task was deleted, or is not this user's; asking again does not help.
      return tell({ event: response.status === 404 ? "refused" : "away", reason: `HTTP ${response.status}` });
    }
    let rest = "";
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { value, done } = await reader.read();
      const lines = (rest + (value ?? "")).split("\n");
      rest = done ? "" : lines.pop();
      for (const line of lines) if (line) tell(JSON.parse(line));
      if (done) return;
    }
  } catch (error) {
    tell({ event: "away", reason: String(error) });
  }
}

/** Say what became of suggestions: "unseen", so that nothing is learnt from them, or "drawn", as arrows. */
export async function note(here, what, task, ids) {
  // What does not arrive counts as an answer that nobody took.
  if (ids.length) await post(here, what, { task, ids }).catch(() => {});
}

const post = (here, path, body) =>
  fetch(new URL(path, here.base), {
    method: "POST",
    credentials: "same-origin",
    headers: { "Content-Type": "application/json", "X-CSRFToken": here.csrf },
    body: JSON.stringify(body),
  });

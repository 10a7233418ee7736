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

/** Say that suggestions were never seen, so that nothing is learnt from them. */
export async function unseen(here, task, ids) {
  if (!ids.length) return;
  try {
    await post(here, "unseen", { task, ids });
  } catch {
    // They stay, as answers that nobody took.
  }
}

const post = (here, path, body) =>
  fetch(new URL(path, here.base), {
    method: "POST",
    credentials: "same-origin",
    headers: { "Content-Type": "application/json", "X-CSRFToken": here.csrf },
    body: JSON.stringify(body),
  });

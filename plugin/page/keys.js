// The keys of the assistant: none of Label Studio's own (its ⇧R is a tool). They are silent while something is typed.

export const KEYS = {
  keep: "K",
  again: "A",
  shorter: "S",
  longer: "D",
  own: "W",
  relations: "L",
  off: "O",
};

const BY_KEY = Object.fromEntries(Object.entries(KEYS).map(([name, key]) => [key, name]));

/** Listen; returns what ends it. `act` and `next` say whether they had something to do. */
export function onKeys({ act, next, typing }) {
  const heard = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || typing()) return;
    let done = false;
    if (event.key === "Tab") done = next(event.shiftKey ? -1 : 1);
    else if (event.shiftKey && event.key.toUpperCase() in BY_KEY) done = act(BY_KEY[event.key.toUpperCase()]);
    if (done) {
      event.preventDefault();
      event.stopImmediatePropagation();
    }
  };
  window.addEventListener("keydown", heard, true);
  return () => window.removeEventListener("keydown", heard, true);
}

// While the editor accepts an answer, no label counts as chosen: it would write that label into all that it accepts, over
// the one that a region was drawn with. Touches two functions of the editor's store, and nothing else. Written against 1.23.

const kept = new WeakSet();
let accepting = 0;

/** See to it for an annotation and the objects it labels: once for each, however often it is called. */
export function keepLabels(annotation) {
  if (typeof annotation?.acceptSuggestion !== "function") return;
  once(annotation, "acceptSuggestion", (accept) => (...given) => {
    accepting += 1;
    try {
      return accept(...given);
    } finally {
      accepting -= 1;
    }
  });
  for (const tag of annotation.names?.values() ?? [])
    if (typeof tag.activeStates === "function")
      once(tag, "activeStates", (chosen) => () => (accepting ? [] : chosen()));
}

function once(node, name, around) {
  if (kept.has(node)) return;
  kept.add(node);
  // The store's functions are read-only and may be defined anew.
  Object.defineProperty(node, name, { configurable: true, writable: false, value: around(node[name]) });
}

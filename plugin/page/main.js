// Wakes the assistant when a task is open: until then it costs one look a moment.

const LOOK_MS = 300;

const tag = document.getElementById("regiontext");
const here = {
  base: new URL("../../", import.meta.url).href, // …/regiontext/
  csrf: tag?.dataset.csrf ?? "",
  user: tag?.dataset.user ?? "",
};

const timer = setInterval(async () => {
  if (!window.Htx?.annotationStore?.selected) return;
  clearInterval(timer);
  try {
    (await import("./assistant.js")).start(here);
  } catch (error) {
    console.warn("regiontext: the assistant is off on this page:", error);
  }
}, LOOK_MS);

// No label is chosen while an answer is accepted. Run by tests/plugin/test_page.py, or `node --test tests/plugin`.

import assert from "node:assert/strict";
import { test } from "node:test";
import { keepLabels } from "../../plugin/page/labels.js";

/** A store as the editor has it: its functions are read-only, and accepting writes the chosen labels. */
function store() {
  const fixed = (node, name, value) => Object.defineProperty(node, name, { configurable: true, writable: false, value });
  const image = {};
  fixed(image, "activeStates", () => ["Car"]);
  const annotation = { names: new Map([["img", image], ["caption", {}]]), written: [] };
  fixed(annotation, "acceptSuggestion", (id) => {
    if (id === "broken") throw new Error("broken");
    annotation.written.push([id, ...image.activeStates()]);
    return id;
  });
  return { image, annotation };
}

test("the editor alone writes the chosen label into what it accepts", () => {
  const { annotation } = store();
  annotation.acceptSuggestion("a");
  assert.deepEqual(annotation.written, [["a", "Car"]]);
});

test("what is accepted gets no label, and what is drawn does", () => {
  const { image, annotation } = store();
  for (let time = 0; time < 3; time += 1) keepLabels(annotation);
  assert.equal(annotation.acceptSuggestion("a"), "a");
  assert.deepEqual(annotation.written, [["a"]]);
  assert.deepEqual(image.activeStates(), ["Car"]);
});

test("an answer that cannot be accepted leaves the labels chosen", () => {
  const { image, annotation } = store();
  keepLabels(annotation);
  assert.throws(() => annotation.acceptSuggestion("broken"), /broken/);
  assert.deepEqual(image.activeStates(), ["Car"]);
});

test("objects that come later, and pages without any, are no trouble", () => {
  const { annotation } = store();
  keepLabels(annotation);
  const late = { activeStates: () => ["Person"] };
  annotation.names.set("other", late);
  keepLabels(annotation);
  assert.deepEqual(late.activeStates(), ["Person"]);
  for (const none of [undefined, null, {}, { acceptSuggestion: () => {} }]) keepLabels(none);
});

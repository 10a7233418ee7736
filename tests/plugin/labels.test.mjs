// No label is chosen while an answer is accepted. Run by tests/plugin/test_page.py, or `node --test tests/plugin`.

import assert from "node:assert/strict";
import { test } from "node:test";
import { keepLabels } from "../../plugin/page/adapter.js";

/** A store as the editor has it: accepting is read-only, and writes the labels that are chosen. */
function store() {
  const label = { name: "Car", selected: true, setSelected(on) { this.selected = on; } };
  const choice = { setSelected() { throw new Error("no label"); } };
  const labels = { type: "rectanglelabels", get selectedLabels() { return label.selected ? [label] : []; } };
  const choices = { type: "choices", selectedLabels: [choice] };
  const annotation = { names: new Map([["rect", labels], ["kind", choices], ["img", { type: "image" }]]), written: [] };
  const value = (id) => annotation.written.push([id, ...labels.selectedLabels.map((one) => one.name)]);
  Object.defineProperty(annotation, "acceptSuggestion", { configurable: true, writable: false, value });
  globalThis.window = { Htx: { annotationStore: { selected: annotation } } };
  return { annotation, label };
}

test("the editor alone writes the chosen label into what it accepts", () => {
  const { annotation } = store();
  annotation.acceptSuggestion("a");
  assert.deepEqual(annotation.written, [["a", "Car"]]);
});

test("what is accepted gets no label, which is chosen again for what is drawn next", () => {
  const { annotation, label } = store();
  for (let look = 0; look < 3; look += 1) keepLabels();
  annotation.acceptSuggestion("a");
  annotation.acceptSuggestion("b");
  assert.deepEqual(annotation.written, [["a"], ["b"]]);
  assert.equal(label.selected, true);
});

test("so it is on each annotation that is opened, and on one that is opened again", () => {
  const first = store();
  const { Htx } = window;
  keepLabels();
  const second = store();
  keepLabels();
  window.Htx = Htx;
  keepLabels();
  for (const { annotation } of [first, second]) {
    annotation.acceptSuggestion("a");
    assert.deepEqual(annotation.written, [["a"]]);
  }
});

test("labels are chosen again when the editor fails, and what it returns is returned", () => {
  const { annotation, label } = store();
  let depth = 0;
  const value = (id) => {
    depth = new Error().stack.split("\n").length;
    if (id === "bad") throw new Error("the editor fails");
    return id;
  };
  Object.defineProperty(annotation, "acceptSuggestion", { configurable: true, writable: false, value });
  keepLabels();
  assert.equal(annotation.acceptSuggestion("a"), "a");
  const once = depth;
  assert.throws(() => annotation.acceptSuggestion("bad"), /the editor fails/);
  assert.equal(label.selected, true);
  const { Htx } = window;
  store();
  keepLabels();
  window.Htx = Htx;
  keepLabels();
  annotation.acceptSuggestion("a");
  assert.equal(depth, once);
});

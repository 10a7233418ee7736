// What is asked, filled and left alone. Run by tests/plugin/test_page.py, or `node --test tests/plugin`.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Suggestions } from "../../plugin/page/suggestions.js";

const region = (id, caption = [], more = {}) => ({
  id, shape: "s", label: "Object", slow: false, finished: true, smart: false,
  drawn: false, fields: { caption: { value: caption, typed: false } }, ...more,
});
const typed = (id) => region(id, [], { fields: { caption: { value: [], typed: true } } });
const answer = (value, more = {}) => ({ event: "answer", field: "caption", id: `s-${value}`, value: [value], confidence: 0.9, options: [], ...more });
const asking = { event: "asking", fields: { caption: "open" } };
const done = { event: "done" };

/** A desk at an empty task, then with these regions, settled; the asks that go out. */
function drawn(...regions) {
  const desk = new Suggestions();
  desk.clear("1/a");
  desk.see([], { now: 0 });
  desk.see(regions, { now: 10 });
  desk.see(regions, { now: 5000 });
  return { desk, asks: desk.next(5000) };
}

test("a drawn region is asked about once, and filled", () => {
  const { desk, asks } = drawn(region("r"));
  assert.deepEqual(asks.map((ask) => [ask.region, ask.fields]), [["r", ["caption"]]]);
  desk.see([region("r")], { now: 9000 });
  assert.deepEqual(desk.next(9000), []);
  assert.deepEqual(desk.heard(asks[0], answer("a cat"), 9000), [{ region: "r", field: "caption", value: ["a cat"] }]);
  assert.deepEqual(desk.marks(), { r: { caption: "sure" } });
  desk.heard(asks[0], done, 9000);
  assert.deepEqual(desk.flying, []);
});

test("what is there when a task is opened is not asked about", () => {
  const desk = new Suggestions();
  desk.clear("1/a");
  desk.see([region("old")], { now: 0 });
  desk.see([region("old")], { now: 5000 });
  assert.deepEqual(desk.next(5000), []);
});

test("but what was drawn before this script was there, is", () => {
  const desk = new Suggestions();
  const early = region("early", [], { drawn: true });
  desk.clear("1/a");
  for (const now of [0, 5000]) desk.see([early, region("old")], { now });
  assert.deepEqual(desk.next(5000).map((ask) => ask.region), ["early"]);
  // After a submit the editor goes on with the same regions, which have been asked about.
  desk.clear("1/a/7");
  for (const now of [6000, 9000]) desk.see([early], { now });
  assert.deepEqual(desk.next(9000), []);
});

test("but when it is re-shaped, the store is asked whose its text is", () => {
  const desk = new Suggestions();
  desk.clear("1/a");
  desk.see([region("old", ["theirs?"])], { now: 0 });
  for (const now of [100, 5000]) desk.see([region("old", ["theirs?"], { shape: "t" })], { now });
  const [ask] = desk.next(5000);
  assert.equal(ask.fields, null);
  assert.equal(desk.heard(ask, answer("new"), 5001).length, 1);
});

test("a region that is being drawn waits, and so does one that is not finished", () => {
  const desk = new Suggestions();
  desk.clear("1/a");
  desk.see([], { now: 0 });
  const unfinished = region("r", [], { finished: false });
  for (const now of [1, 5000]) desk.see([unfinished], { now });
  assert.deepEqual(desk.next(5000), []);
  desk.see([region("r")], { now: 6000, down: true });
  assert.deepEqual(desk.next(6000), []);
  desk.see([region("r")], { now: 6100 });
  assert.equal(desk.next(6100).length, 1);
});

test("a brush waits for the next stroke", () => {
  const desk = new Suggestions();
  desk.clear("1/a");
  desk.see([], { now: 0 });
  const stroke = (shape) => region("r", [], { slow: true, shape });
  desk.see([stroke("1")], { now: 100 });
  desk.see([stroke("2")], { now: 900 });
  desk.see([stroke("2")], { now: 1700 });
  assert.deepEqual(desk.next(1700), []);
  desk.see([stroke("2")], { now: 2000 });
  assert.equal(desk.next(2000).length, 1);
});

test("what is typed while the answer is on its way stays, and the answer counts as never seen", () => {
  for (const now of [typed("r"), region("r", ["mine"])]) {
    const { desk, asks: [ask] } = drawn(region("r"));
    desk.heard(ask, asking, 5001);
    desk.heard(ask, { event: "text", field: "caption", text: "a c" }, 5002);
    desk.see([now], { now: 5003 });
    assert.deepEqual(desk.heard(ask, answer("a cat"), 5004), []);
    assert.deepEqual(ask.unseen, ["s-a cat"]);
  }
});

test("only the field that is typed into is left alone", () => {
  const two = (caption) => region("r", [], { fields: { caption, material: { value: [], typed: false } } });
  const { desk, asks: [ask] } = drawn(two({ value: [], typed: false }));
  desk.heard(ask, { event: "asking", fields: { caption: "open", material: "closed" } }, 5001);
  desk.see([two({ value: [], typed: true })], { now: 5002 });
  assert.deepEqual(desk.heard(ask, answer("a cat"), 5003), []);
  assert.equal(desk.heard(ask, { ...answer("wood"), field: "material" }, 5003).length, 1);
});

test("a region deleted in flight takes no answer", () => {
  const { desk, asks: [ask] } = drawn(region("r"));
  desk.see([], { now: 5001 });
  assert.deepEqual(desk.heard(ask, answer("a cat"), 5002), []);
  assert.deepEqual(ask.unseen, ["s-a cat"]);
});

test("another task drops all that is on its way", () => {
  const { desk, asks: [ask] } = drawn(region("r"));
  desk.clear("2/b");
  desk.see([region("r")], { now: 5001 });
  assert.deepEqual(desk.heard(ask, answer("a cat"), 5002), []);
  assert.deepEqual(ask.unseen, ["s-a cat"]);
});

test("ten regions in a row are all asked about, three at a time", () => {
  const regions = Array.from({ length: 10 }, (_, at) => region(`r${at}`));
  const { desk, asks } = drawn(...regions);
  assert.equal(asks.length, 3);
  const seen = new Set();
  for (let flying = asks; flying.length; flying = desk.next(6000))
    for (const ask of flying) {
      seen.add(ask.region);
      desk.heard(ask, answer("it"), 6000);
      desk.heard(ask, done, 6000);
    }
  assert.equal(seen.size, 10);
});

test("a moved region is asked about again while its text is the model's", () => {
  const { desk, asks: [ask] } = drawn(region("r"));
  desk.heard(ask, answer("a cat"), 5001);
  desk.heard(ask, done, 5001);
  for (const now of [6000, 7000]) desk.see([region("r", ["a cat"], { shape: "t" })], { now });
  const [again] = desk.next(7000);
  assert.deepEqual(again.fields, ["caption"]);
  assert.equal(desk.heard(again, answer("a dog"), 7001)[0].value[0], "a dog");
});

for (const [how, change] of [
  ["edited", (desk) => desk.see([region("r", ["my cat"])], { now: 5500 })],
  ["kept", (desk) => desk.keep("r")],
  ["cleared", (desk) => desk.see([region("r", [])], { now: 5500 })],
])
  test(`a moved region whose text was ${how} is left alone`, () => {
    const { desk, asks: [ask] } = drawn(region("r"));
    desk.heard(ask, answer("a cat"), 5001);
    desk.heard(ask, done, 5001);
    change(desk);
    const text = { edited: ["my cat"], kept: ["a cat"], cleared: [] }[how];
    for (const now of [6000, 7000]) desk.see([region("r", text, { shape: "t" })], { now });
    assert.deepEqual(desk.next(7000), []);
    assert.deepEqual(desk.marks(), {});
  });

test("text that undo took with it comes back; text that was cleared does not", () => {
  const { desk, asks: [ask] } = drawn(region("r"));
  desk.heard(ask, answer("a cat"), 5001);
  desk.see([region("r", ["a cat"])], { now: 5002, undone: 3 });
  const [back] = desk.see([region("r", [])], { now: 5003, undone: 2 });
  assert.deepEqual(back, { region: "r", field: "caption", value: ["a cat"] });
  desk.see([region("r", ["a cat"])], { now: 5004, undone: 2 });
  assert.deepEqual(desk.see([region("r", [])], { now: 5005, undone: 3 }), []);
});

test("smart tools are Label Studio's own while their region waits", () => {
  const { desk, asks } = drawn(region("r", [], { smart: true }));
  assert.deepEqual(asks, []);
  for (const now of [6000, 7000]) desk.see([region("r", ["filled by the stock way"])], { now });
  assert.deepEqual(desk.next(7000), []);
});

test("what is asked for is taken even where the human wrote, but beside it", () => {
  const { desk, asks: [ask] } = drawn(region("r"));
  desk.heard(ask, done, 5001);
  desk.see([region("r", ["mine"])], { now: 5002 });
  desk.wish("r", ["caption"], "shorter");
  const [wished] = desk.next(5003);
  assert.equal(wished.wish, "shorter");
  assert.deepEqual(desk.heard(wished, answer("cat"), 5004), []);
  assert.deepEqual(desk.regions.get("r").fields.get("caption").offer, ["cat"]);
  assert.deepEqual(wished.unseen, []);
  assert.deepEqual(desk.take("r", "caption", ["cat"]), [{ region: "r", field: "caption", value: ["cat"] }]);
});

test("a model that is away is asked again, less and less often, and then all that waited", () => {
  const { desk, asks: [ask] } = drawn(region("r"), region("q"));
  desk.heard(ask, { event: "away", reason: "no" }, 5000);
  assert.equal(desk.away, "no");
  assert.deepEqual(desk.next(5001), []);
  desk.flying = [];
  const [again] = desk.next(8001);
  assert.equal(again.region, "r");
  desk.heard(again, { event: "away", reason: "no" }, 8001);
  assert.deepEqual(desk.next(11002), []);
  const [third] = desk.next(14002);
  desk.heard(third, answer("a cat"), 14003);
  desk.heard(third, done, 14003);
  assert.equal(desk.away, null);
});

test("an arm without suggestions shows nothing and does not ask twice", () => {
  const { desk, asks: [ask] } = drawn(region("r"));
  desk.heard(ask, done, 5001);
  assert.deepEqual(desk.marks(), {});
  assert.deepEqual(desk.next(99999), []);
});

test("unsure suggestions are those below one half", () => {
  const { desk, asks: [ask] } = drawn(region("r"));
  desk.heard(ask, answer("a cat", { confidence: 0.3 }), 5001);
  assert.equal(desk.unsure("r"), true);
  assert.deepEqual(desk.marks(), { r: { caption: "unsure" } });
  desk.keep("r");
  assert.equal(desk.unsure("r"), false);
});

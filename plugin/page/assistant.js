// Puts the parts together: looks at the editor, asks, fills, shows. Turns itself off when the editor is not what it was
// written for.

import * as editor from "./adapter.js";
import { Card } from "./card.js";
import { onKeys } from "./keys.js";
import { ask, note } from "./road.js";
import { Suggestions } from "./suggestions.js";

const LOOK_MS = 250;
const OFF = (user) => `regiontext:off:${user}`;

export function start(here) {
  const desk = new Suggestions();
  const off = () => localStorage.getItem(OFF(here.user)) !== null;
  let down = false;
  let focus = null; // the region that the card is about when none is selected
  let checked = false;
  let timer = null;
  const card = new Card({ act, choose, say });
  const stopKeys = onKeys({ act, next, typing: editor.typing });

  const watch = [
    ["pointerdown", (event) => {
      down = true;
      if (editor.isCanvas(event.target)) focus = null;
    }],
    ["pointerup", () => {
      down = false;
      soon();
    }],
    ["pointercancel", () => { down = false; }],
    ["keyup", soon],
  ];
  for (const [name, heard] of watch) window.addEventListener(name, heard, true);
  timer = setInterval(guarded(look), LOOK_MS);
  guarded(look)();

  function soon() {
    // The editor first, then we; once more when a shape has settled.
    for (const ms of [0, 130]) setTimeout(guarded(look), ms);
  }

  /** Run `work`; whatever goes wrong in it turns the assistant off for the page. */
  function guarded(work) {
    return (...given) => {
      if (timer === null) return;
      try {
        return work(...given);
      } catch (error) {
        leave(error);
      }
    };
  }

  function leave(reason) {
    clearInterval(timer);
    timer = null;
    for (const [name, heard] of watch) window.removeEventListener(name, heard, true);
    stopKeys();
    card.remove();
    console.warn("regiontext: the assistant is off on this page:", reason);
    editor.markRows({});
    for (const [id, { fields }] of desk.regions) for (const name of fields.keys()) editor.preview(id, name, null);
  }

  function look() {
    const scene = editor.scene();
    if ((scene?.key ?? null) !== desk.scene) {
      desk.clear(scene?.key ?? null);
      focus = null;
      checked = false;
    }
    if (!scene || scene.closed) return card.hide();
    if (!checked) {
      const faults = editor.faults();
      if (faults.length) throw new Error(`the editor lacks ${faults.join(", ")}`);
    }
    editor.keepLabels();
    if (editor.isOffHere()) return card.hide();
    checked = see() > 0;
    if (!off()) for (const one of desk.next(performance.now())) send(one, scene.task);
    show();
  }

  /** Take in what is on the screen; how many regions there are. */
  function see() {
    const regions = editor.regions();
    fill(desk.see(regions, { now: performance.now(), down, undone: editor.undone() }));
    return regions.length;
  }

  function fill(writes) {
    for (const { region, field, value } of writes) {
      editor.preview(region, field, null);
      editor.fill(region, field, value);
    }
  }

  async function send(one, task) {
    if (!one.explicit) focus = one.region;
    const results = editor.resultsFor(one.region, one.relations);
    const tell = guarded((event) => {
      // What the annotator has done this very moment counts before what the model says.
      if (event.event === "answer" && editor.scene()?.key === desk.scene) see();
      fill(desk.heard(one, event, performance.now()));
      if (event.event === "text" || event.event === "answer" || event.event === "relation") show();
    });
    if (!results) return tell({ event: "refused" });
    const { region, fields, wish, relations } = one;
    await ask(here, { task, region, results, fields, wish, relations: Boolean(relations) }, tell);
    // A stream that ends without a last word has ended all the same.
    if (desk.flying.includes(one)) tell({ event: "away", reason: "the answer broke off" });
    note(here, "unseen", task, one.unseen);
    guarded(look)();
  }

  function current() {
    return editor.selected() ?? focus;
  }

  function show() {
    for (const [id, known] of desk.regions)
      if (known.there)
        for (const [name, one] of known.fields) editor.preview(id, name, one.coming === "" ? "…" : (one.coming ?? null));
    editor.markRows(desk.marks());
    const id = current();
    const known = desk.regions.get(id);
    card.show({
      id,
      known: known?.there ? known : null,
      number: editor.numberOf(id),
      numberOf: editor.numberOf,
      place: known?.there ? editor.place(id) : null,
      still: editor.selected() === null,
      away: desk.away,
      off: off(),
    });
  }

  // What the annotator does, by button or key.

  function act(name) {
    const id = current();
    const known = desk.regions.get(id);
    if (name === "off") {
      if (off()) localStorage.removeItem(OFF(here.user));
      else {
        localStorage.setItem(OFF(here.user), "1");
        desk.drop(() => true);
      }
    } else if (!known?.there || off()) return false;
    else if (name === "keep") desk.keep(id);
    else if (name === "relations") {
      const [first] = known.relations.filter((one) => !one.taken);
      if (first) {
        first.taken = true;
        if (editor.relate(first.from, first.to, first.label)) note(here, "drawn", editor.scene().task, [first.id]);
      } else desk.askRelations(id);
    } else if (name === "own") card.ask();
    else desk.wish(id, [...known.fields.keys()], name);
    guarded(look)();
    return true;
  }

  function choose(name, value) {
    const id = current();
    if (!desk.regions.get(id)?.there) return;
    guarded(() => fill(desk.take(id, name, value)))();
    guarded(look)();
  }

  function say(words) {
    const id = current();
    const known = desk.regions.get(id);
    if (known?.there && words.trim()) desk.wish(id, [...known.fields.keys()], words.trim());
    guarded(look)();
  }

  /** Select the next region with an unsure suggestion; false if there is none. */
  function next(step) {
    const ids = [...desk.regions].filter(([id, known]) => known.there && desk.unsure(id)).map(([id]) => id);
    if (!ids.length || off()) return false;
    const at = ids.indexOf(editor.selected());
    const to = at < 0 ? (step > 0 ? 0 : ids.length - 1) : (at + step + ids.length) % ids.length;
    editor.select(ids[to]);
    soon();
    return true;
  }
}

// What was asked, what came, and what became of it. Knows neither page nor network nor clock: it is told what is on the
// screen and what the model says, and answers with what is to be done.

const AT_ONCE = 3; // a browser has six connections to a server, and Label Studio needs some
const SETTLE_MS = 120;
const SLOW_SETTLE_MS = 1000; // a brush comes in strokes
const UNSURE = 0.5;
const AGAIN_MS = [3000, 6000, 12000, 24000];

const same = (a, b) => a.length === b.length && a.every((text, at) => text === b[at]);
const filled = (value) => value.some((text) => text.trim());

export class Suggestions {
  constructor() {
    this.clear(null);
    this.away = null; // why the model is away, null while it is there
    this.tries = 0;
    this.retryAt = 0;
  }

  /** Forget all regions: another task or annotation is on the screen. */
  clear(scene) {
    this.first = !this.scene;
    this.scene = scene;
    this.fresh = true;
    this.regions = new Map();
    this.waiting = [];
    this.undone = 0;
    for (const ask of this.flying ?? []) ask.dropped = true;
    this.flying = (this.flying ?? []).slice();
  }

  /**
   * What is on the screen now: regions as `adapter.regions` tells them, whether the mouse is down, how far back the
   * history stands. Returns what is to be filled again: [{region, field, value}].
   */
  see(regions, { now, down = false, undone = 0 }) {
    const refill = [];
    const moved = undone < this.undone;
    this.undone = undone;
    const here = new Set(regions.map((region) => region.id));
    for (const [id, known] of this.regions)
      if (!here.has(id)) {
        if (known.there) this.drop((ask) => ask.region === id);
        known.there = false;
      }
    for (const region of regions) {
      const known = this.regions.get(region.id);
      if (!known) {
        this.regions.set(region.id, this.#begin(region, now));
        continue;
      }
      refill.push(...this.#follow(known, region, now, moved && known.there));
      known.there = true;
    }
    for (const region of regions) this.#ripe(this.regions.get(region.id), region, now, down);
    this.fresh = false;
    return refill;
  }

  /** The next asks to send; each is to be sent at once and told back by `heard`. */
  next(now) {
    const sent = [];
    if (this.away && now < this.retryAt) return sent;
    const limit = this.away ? 1 : AT_ONCE;
    while (this.flying.length < limit && this.waiting.length) {
      const ask = this.waiting.shift();
      this.flying.push(ask);
      sent.push(ask);
    }
    return sent;
  }

  /** Ask for fields because the annotator says so. */
  wish(region, fields, wish) {
    this.drop((ask) => ask.region === region && ask.fields?.some((name) => fields.includes(name)));
    this.#queue({ region, fields, wish, explicit: true });
  }

  /** Ask how a region relates to its neighbours. */
  askRelations(region) {
    const known = this.regions.get(region);
    if (known) known.relations = [];
    this.drop((ask) => ask.region === region && ask.relations);
    this.#queue({ region, fields: null, wish: null, relations: true, explicit: true });
  }

  /** What came for an ask. Returns [{region, field, value}] to fill; ids nobody saw are kept in `ask.unseen`. */
  heard(ask, event, now) {
    if (event.event === "away") return this.#gone(ask, event.reason, now);
    if (event.event === "failed" && event.temporary) ask.failed = event.reason;
    if (event.event === "done" || event.event === "refused") return this.#landed(ask, now);
    const known = this.regions.get(ask.region);
    if (ask.dropped || !known?.there) {
      if (event.id) ask.unseen.push(event.id);
      return [];
    }
    if (event.event === "asking") for (const name of Object.keys(event.fields)) field(known, name).coming = "";
    if (event.event === "picture") known.picture = event.url;
    if (event.event === "text") field(known, event.field).coming = event.text;
    if (event.event === "failed") delete field(known, event.field).coming;
    if (event.event === "relation") known.relations.push(event);
    return event.event === "answer" ? this.#answered(ask, known, event) : [];
  }

  /** The annotator keeps what stands there as it is. */
  keep(region) {
    for (const one of this.#fields(region)) if (one.state === "ours") one.state = "kept";
  }

  /** Put an answer that waits beside what the annotator wrote, or an option, into the field: [{region, field, value}]. */
  take(region, name, value) {
    const one = field(this.regions.get(region), name);
    delete one.offer;
    Object.assign(one, { state: "ours", ours: value, seen: value });
    return [{ region, field: name, value }];
  }

  /** Whether a region has a suggestion that is unsure and not decided upon. */
  unsure(id) {
    return this.#fields(id).some((one) => one.state === "ours" && (one.confidence ?? 0) < UNSURE);
  }

  /** {region: {field: "sure" | "unsure" | "waits"}} of all that is not the annotator's yet. */
  marks() {
    const found = {};
    for (const [id, known] of this.regions) {
      if (!known.there) continue;
      for (const [name, one] of known.fields) {
        const sure = (one.confidence ?? 0) >= UNSURE ? "sure" : "unsure";
        const how = one.coming !== undefined ? "waits" : one.state === "ours" ? sure : null;
        if (how) (found[id] ??= {})[name] = how;
      }
    }
    return found;
  }

  /** Mark asks as not wanted any more, those that wait and those on their way. */
  drop(which) {
    this.waiting = this.waiting.filter((ask) => !which(ask));
    for (const ask of this.flying)
      if (which(ask) && !ask.dropped) {
        ask.dropped = true;
        this.#quiet(ask.region);
      }
  }

  // Private

  #fields(id) {
    return [...(this.regions.get(id)?.fields.values() ?? [])];
  }

  #quiet(id) {
    for (const one of this.#fields(id)) delete one.coming;
  }

  #begin(region, now) {
    // What is there when a task is opened was drawn before, or by one who was faster than this script; a smart tool's
    // region is Label Studio's own to fill.
    const old = this.fresh && !(this.first && region.drawn);
    const state = old ? "old" : region.smart ? "smart" : "new";
    const known = { there: true, state, shape: region.shape, label: region.label, since: now, fields: new Map(), relations: [], picture: null };
    for (const [name, { value }] of Object.entries(region.fields)) field(known, name).seen = value;
    return known;
  }

  #follow(known, region, now, moved) {
    const refill = [];
    for (const [name, { value, typed }] of Object.entries(region.fields)) {
      const one = field(known, name);
      if (one.coming !== undefined && (typed || (filled(value) && !same(value, one.seen)))) {
        // The annotator is faster than the model.
        for (const ask of [...this.waiting, ...this.flying])
          if (ask.region === region.id && !ask.explicit) ask.skip.add(name);
        delete one.coming;
      }
      if (one.state === "ours" || one.state === "kept") {
        if (!filled(value)) {
          if (moved) refill.push({ region: region.id, field: name, value: one.ours });
          else one.state = "cleared";
        } else if (!same(value, one.ours)) one.state = "edited";
      } else if (one.state === "edited" && same(value, one.ours ?? [])) one.state = "kept";
      one.seen = value;
    }
    const settled = known.state === "smart" && !region.smart;
    if (known.shape !== region.shape || known.label !== region.label) {
      Object.assign(known, { shape: region.shape, label: region.label, since: now });
      if (known.state === "asked") known.state = "changed";
      if (known.state === "old") known.state = "old changed";
    }
    if (settled) known.state = "old";
    return refill;
  }

  #ripe(known, region, now, down) {
    if (!["new", "changed", "old changed"].includes(known.state)) return;
    if (down || !region.finished || now - known.since < (region.slow ? SLOW_SETTLE_MS : SETTLE_MS)) return;
    if (region.smart) {
      known.state = "smart";
      return;
    }
    const { state: before } = known;
    const drawn = before === "new";
    known.state = "asked";
    const names = Object.entries(region.fields).filter(([name, { value, typed }]) => {
      const one = field(known, name);
      if (typed) return false;
      return drawn ? !filled(value) : one.state === "ours" || (one.state === "none" && !filled(value));
    });
    // Answers to the region as it was are of no use.
    this.drop((ask) => ask.region === region.id && !ask.relations);
    if (before === "old changed") {
      // Whose text it is was decided before this page was opened: only the store can tell.
      const judged = Object.fromEntries(Object.entries(region.fields).map(([name, { value }]) => [name, value]));
      this.#queue({ region: region.id, fields: null, wish: null, judged });
      known.state = "old";
    } else if (names.length) this.#queue({ region: region.id, fields: names.map(([name]) => name), wish: null });
  }

  #queue(ask) {
    this.waiting.push({ ...ask, scene: this.scene, dropped: false, skip: new Set(), unseen: [], failed: null });
  }

  #answered(ask, known, event) {
    const one = field(known, event.field);
    delete one.coming;
    const mine = one.state === "ours" || one.state === "kept" || !filled(one.seen);
    const asked = ask.judged?.[event.field];
    const still = one.state === "ours" || !filled(one.seen) || (asked && same(asked, one.seen));
    const free = ask.explicit ? mine : still && one.state !== "cleared" && !ask.skip.has(event.field);
    const news = { id: event.id, confidence: event.confidence, options: event.options ?? [] };
    if (!free) {
      if (ask.explicit) one.offer = event.value;
      else ask.unseen.push(event.id);
      return [];
    }
    if (one.ours && !same(one.ours, event.value)) one.earlier = [one.ours, ...(one.earlier ?? [])].slice(0, 3);
    Object.assign(one, news, { state: "ours", ours: event.value, seen: event.value });
    return [{ region: ask.region, field: event.field, value: event.value }];
  }

  #landed(ask, now) {
    if (ask.failed && !ask.dropped) return this.#gone(ask, ask.failed, now);
    this.flying = this.flying.filter((one) => one !== ask);
    if (!ask.dropped) this.#quiet(ask.region);
    this.away = null;
    this.tries = 0;
    return [];
  }

  #gone(ask, reason, now) {
    this.flying = this.flying.filter((one) => one !== ask);
    this.away = reason || "no answer";
    this.retryAt = now + AGAIN_MS[Math.min(this.tries++, AGAIN_MS.length - 1)];
    this.#quiet(ask.region);
    if (!ask.dropped && ask.scene === this.scene) this.waiting.unshift(Object.assign(ask, { failed: null }));
    return [];
  }
}

function field(known, name) {
  if (!known.fields.has(name)) known.fields.set(name, { state: "none", seen: [], ours: null, confidence: null, options: [] });
  return known.fields.get(name);
}

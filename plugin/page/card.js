// The card beside a region, and the one quiet line at the foot of the page. Shows what it is given; knows no editor.

import { KEYS } from "./keys.js";

const BUTTONS = [
  ["keep", "Keep"],
  ["again", "Again"],
  ["shorter", "Shorter"],
  ["longer", "More detail"],
  ["own", "Ask…"],
  ["relations", "Relations"],
];
const GAP = 10;

const make = (tag, name, text) => {
  const made = document.createElement(tag);
  if (name) made.className = `regiontext-${name}`;
  if (text !== undefined) made.textContent = text;
  return made;
};
const percent = (share) => (share == null ? "" : `${Math.round(share * 100)} %`);

export class Card {
  constructor({ act, choose, say }) {
    this.choose = choose;
    this.drawn = "";
    this.card = make("section", "card");
    this.card.setAttribute("aria-label", "Suggestions for this region");
    this.body = this.card.appendChild(make("div", "body"));
    this.foot = this.card.appendChild(make("div", "foot"));
    for (const [name, title] of BUTTONS) {
      const button = make("button", "button", title);
      button.type = "button";
      button.dataset.act = name;
      button.append(make("kbd", "key", `⇧${KEYS[name]}`));
      // The focus stays where it was, so that keys go on working.
      button.addEventListener("mousedown", (event) => event.preventDefault());
      button.addEventListener("click", () => act(name));
      this.foot.append(button);
    }
    this.words = this.card.appendChild(make("input", "words"));
    this.words.placeholder = "What should it say? Enter asks, Esc leaves";
    this.words.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key !== "Enter" && event.key !== "Escape") return;
      const { value } = this.words;
      this.words.value = "";
      this.words.blur();
      this.card.classList.remove("regiontext-asks");
      if (event.key === "Enter") say(value);
    });
    this.line = make("div", "line");
    this.line.setAttribute("role", "status");
    this.hide();
    document.body.append(this.card, this.line);
  }

  remove() {
    this.card.remove();
    this.line.remove();
  }

  hide() {
    this.card.hidden = true;
    this.line.hidden = true;
  }

  /** Open the input for the annotator's own words. */
  ask() {
    this.card.classList.add("regiontext-asks");
    this.card.classList.remove("regiontext-still");
    this.words.focus();
  }

  show({ id, known, number, numberOf, place, still, away, off }) {
    this.#say(off ? `Assistant off, ⇧${KEYS.off} turns it on` : away ? "The model is away; suggestions come when it is back" : "");
    const asks = this.card.classList.contains("regiontext-asks");
    const told = known && [...known.fields].some(([, one]) => one.coming !== undefined || one.ours || one.offer);
    // Something is shown when there is something to show; in an arm without suggestions there never is.
    const wanted = known && !off && place && (told || known.relations.length || asks);
    this.card.hidden = !wanted;
    if (!wanted) return;
    this.card.classList.toggle("regiontext-still", still && !asks);
    const seen = JSON.stringify([id, number, [...known.fields], known.relations, known.picture?.length]);
    if (seen !== this.drawn) {
      this.drawn = seen;
      this.#draw(known, number, numberOf);
    }
    this.#put(place);
  }

  #say(text) {
    if (this.line.textContent !== text) this.line.textContent = text;
    this.line.hidden = !text;
  }

  #draw(known, number, numberOf) {
    const rows = [make("div", "head", `Region ${number}`)];
    if (known.picture) {
      const picture = make("img", "picture");
      picture.src = known.picture;
      picture.alt = "What the model saw";
      picture.title = picture.alt;
      rows[0].append(picture);
    }
    for (const [name, one] of known.fields) {
      if (one.coming === undefined && !one.ours && !one.offer) continue;
      const row = make("div", "field");
      row.dataset.field = name;
      row.dataset.state = one.coming !== undefined ? "waits" : one.state;
      row.append(make("span", "name", name), make("span", "sure", one.coming === undefined ? percent(one.confidence) : ""));
      row.append(make("div", "text", one.coming !== undefined ? one.coming || "…" : (one.ours ?? []).join(", ")));
      const choices = one.options.slice(0, 5).map(([option, share]) => [[option], `${option} ${percent(share)}`]);
      for (const value of one.earlier ?? []) choices.push([value, value.join(", ")]);
      if (one.offer) choices.unshift([one.offer, `Use “${one.offer.join(", ")}”`]);
      for (const [value, title] of choices) {
        const chip = make("button", "chip", title);
        chip.type = "button";
        chip.addEventListener("mousedown", (event) => event.preventDefault());
        chip.addEventListener("click", () => this.choose(name, value));
        row.append(chip);
      }
      rows.push(row);
    }
    for (const one of known.relations) {
      const row = make("div", "relation", `${numberOf(one.from)} → ${numberOf(one.to)}: ${one.label} ${percent(one.confidence)}`);
      row.dataset.taken = Boolean(one.taken);
      rows.push(row);
    }
    this.body.replaceChildren(...rows);
  }

  /** Beside the region, where there is room, and never over it if that can be helped. */
  #put({ left, top, right, bottom }) {
    const { offsetWidth: width, offsetHeight: height } = this.card;
    const fits = (x, y) => x >= 0 && y >= 0 && x + width <= innerWidth && y + height <= innerHeight;
    const places = [[right + GAP, top], [left - GAP - width, top], [left, bottom + GAP], [left, top - GAP - height]];
    const [x, y] = places.find(([x, y]) => fits(x, y)) ?? [innerWidth - width - GAP, innerHeight - height - 5 * GAP];
    const where = `translate(${Math.round(x)}px, ${Math.round(y)}px)`;
    if (this.card.style.transform !== where) this.card.style.transform = where;
  }
}

// The only module that touches Label Studio's editor.

const OURS = "regiontext";
const ROW = ".lsf-outliner-item";
const INDEX = ".lsf-outliner-item__index";
const FIELD = "[data-testid=textarea-region-view]";
const INPUT = "[data-testid=textarea-region-input]";
const LINE = "[data-testid=textarea-region-item] *";
const IMAGE = "img[alt=image]";
const SHAPES = new Set([
  "rectangleregion", "ellipseregion", "polygonregion", "keypointregion", "brushregion", "bitmaskregion", "vectorregion",
]);
const TAGS = new Set(["textarea", "choices"]);
const OF_ANNOTATION =
  "acceptSuggestion names.values regions.map history.freeze history.unfreeze history.safeUnfreeze " +
  "history.setReplaceNextUndoState relationStore.addRelation relationStore.serialize";
const OF_REGION = "cleanId addResult perRegionTags.map $treenode.snapshot results.0.serialize";

const store = () => window.Htx;
const annotation = () => store()?.annotationStore?.selected;

/** What the editor lacks of what is used here; nothing else may be called unless this is empty. */
export function faults() {
  const now = annotation();
  const lacks = (node, paths) =>
    paths.split(" ").filter((path) => path.split(".").reduce((at, key) => at?.[key], node) === undefined);
  const found = lacks(now, OF_ANNOTATION);
  if (now.regions?.length) found.push(...lacks(now.regions[0], OF_REGION));
  if (!Number.isInteger(Number(store().task.id))) found.push("task.id");
  return found;
}

/** Which task and annotation are on the screen; null if none. */
export function scene() {
  const now = annotation();
  if (!now || !store().task) return null;
  const all = store().annotationStore.viewingAllAnnotations || store().annotationStore.viewingAll;
  const closed = all || now.isReadOnly?.() || now.type === "prediction";
  // What was submitted is the annotator's: it begins anew.
  return { key: [store().task.id, now.id, now.pk].join(), task: Number(store().task.id), closed };
}

/** Whether the project's labeling config says assistant="off". */
export const isOffHere = () => /<View\b[^>]*\bassistant\s*=\s*["']off["']/i.test(String(store()?.config ?? ""));

/** How far back the history stands: goes down with undo. */
export const undone = () => annotation()?.history.undoIdx ?? 0;

const kept = new WeakSet();

/** Accept answers with no label chosen: the editor writes it onto all their regions. */
export function keepLabels() {
  const now = annotation();
  if (kept.has(now)) return;
  kept.add(now);
  const accept = now.acceptSuggestion;
  const value = (id) => {
    const chosen = [...now.names.values()].flatMap((tag) => (tag.type.endsWith("labels") ? tag.selectedLabels : []));
    const all = (on) => chosen.forEach((label) => label.setSelected(on));
    all(false);
    try {
      return accept(id);
    } finally {
      all(true);
    }
  };
  Object.defineProperty(now, "acceptSuggestion", { configurable: true, value });
}

const seen = new WeakMap();

/** Every finished or unfinished region of the image, as plain facts. */
export function regions() {
  const now = annotation();
  return now.regions
    .filter((region) => SHAPES.has(region.type) && region.isRealRegion !== false)
    .map((region) => ({
      id: region.cleanId,
      // What comes from the server has its annotation's name added to its own.
      drawn: region.id === region.cleanId,
      shape: shapeOf(region),
      label: region.labels?.join() ?? "",
      slow: region.type === "brushregion" || region.type === "bitmaskregion",
      finished: !region.isDrawing && !region.incomplete && !region.results.some((r) => r.from_name.isDrawing),
      smart: Boolean(region.dynamic && store().autoAnnotation),
      fields: Object.fromEntries(tagsOf(region).map((tag) => [tag.name, fieldOf(region, tag)])),
    }));
}

export function selected() {
  const chosen = annotation()?.selectedRegions ?? [];
  return chosen.length === 1 && SHAPES.has(chosen[0].type) ? chosen[0].cleanId : null;
}

export function select(id) {
  const region = find(id);
  if (region) annotation().selectArea(region);
}

/** Whether the annotator's focus is in something to type in. */
export const typing = () => Boolean(document.activeElement?.closest("input:not([type=checkbox], [type=radio]), textarea, select"));

/** The results of the region, and of the others as far as their shapes and relations go. */
export function resultsFor(id, withOthers) {
  const own = find(id);
  if (!own) return null;
  const results = own.results.map((result) => result.serialize()).filter(Boolean);
  if (!withOthers) return plain(results);
  for (const other of annotation().regions)
    if (other !== own && SHAPES.has(other.type) && !other.isDrawing) {
      const [shape] = other.results.map((result) => result.serialize());
      if (shape) results.push(shape);
    }
  return plain([...results, ...annotation().relationStore.serialize()]);
}

/** Write `values` into a field of a region, as part of what was done last; false if it is not there any more. */
export function fill(id, name, values) {
  const region = find(id);
  const tag = region && tagsOf(region).find((one) => one.name === name);
  if (!tag || region.isReadOnly?.()) return false;
  amend(() => {
    const result = region.results.find((one) => one.from_name === tag);
    if (result) result.setValue(values);
    else
      region.addResult({
        area: region,
        from_name: tag,
        to_name: region.object,
        type: tag.resultType ?? tag.type,
        value: { [tag.valueType]: values },
      });
    if (region.inSelection) tag.updateFromResult?.(values);
  });
  region.updateAppearenceFromState?.();
  return true;
}

/** Draw the arrow from one region to the other, with its label; false if there is one or an end is gone. */
export function relate(from, to, label) {
  const [start, end] = [find(from), find(to)];
  if (!start || !end) return false;
  const arrow = annotation().relationStore.addRelation(start, end);
  arrow?.setRelations?.([label]);
  return Boolean(arrow);
}

export const numberOf = (id) => find(id)?.region_index ?? "?";

/** Show text that is on its way in the place of the field, without it being the field's value; null ends it. */
export function preview(id, name, text) {
  for (const input of inputsOf(id, name)) {
    if (text === null) {
      if (OURS in input.dataset) input.placeholder = input.dataset[OURS];
      delete input.dataset[OURS];
    } else {
      input.dataset[OURS] ??= input.placeholder;
      if (input.placeholder !== text) input.placeholder = text;
    }
  }
}

/** Mark the fields whose text is a suggestion: `marks` is {region id: {field: "sure" | "unsure" | "waits"}}. */
export function markRows(marks) {
  const wanted = new Map();
  const given = Object.entries(marks);
  const rows = given.length ? rowsByNumber() : null;
  for (const [id, fields] of given) {
    const row = rows.get(String(numberOf(id)));
    const tags = row ? listed(find(id)) : [];
    for (const [name, how] of Object.entries(fields)) {
      const place = row?.querySelectorAll(FIELD)[tags.findIndex((tag) => tag.name === name)];
      if (place ?? row) wanted.set(place ?? row, how);
    }
  }
  for (const old of document.querySelectorAll("[data-regiontext-mark]"))
    if (!wanted.has(old)) delete old.dataset.regiontextMark;
  for (const [place, how] of wanted) if (place.dataset.regiontextMark !== how) place.dataset.regiontextMark = how;
}

/** Where a region is on the screen {left, top, right, bottom}, or else the whole image; null if neither is there. */
export function place(id) {
  const image = document.querySelector(IMAGE)?.getBoundingClientRect();
  if (!image?.width) return null;
  const { left, top, right, bottom } = find(id)?.bboxCoords ?? {};
  const turned = find(id)?.parent?.rotation % 360;
  if (turned || ![left, top, right, bottom].every((n) => n > -5 && n < 105)) return image;
  const x = (n) => image.left + (n * image.width) / 100;
  const y = (n) => image.top + (n * image.height) / 100;
  return { left: x(left), top: y(top), right: x(right), bottom: y(bottom) };
}

export const isCanvas = (element) => Boolean(element?.closest?.("canvas, .konvajs-content"));

// Private

const find = (id) => annotation()?.regions.find((region) => region.cleanId === id);
const tagsOf = (region) => region.perRegionTags.filter((tag) => TAGS.has(tag.type));
const listed = (region) => region?.perRegionDescControls ?? [];
const plain = (value) => JSON.parse(JSON.stringify(value));

function fieldOf(region, tag) {
  const held = region.results.find((result) => result.from_name === tag)?.mainValue;
  const value = held?.toJSON?.() ?? held ?? [];
  return { value: (Array.isArray(value) ? value : [value]).flat().map(String), typed: isTyped(region, tag) };
}

/** Whether something stands in the field's input that the editor has not taken over yet. */
function isTyped(region, tag) {
  if (tag.type !== "textarea") return false;
  if (tag.perRegionArea === region && tag._value) return true;
  const active = document.activeElement;
  if (!active?.matches?.(LINE)) return false;
  return active.closest(ROW)?.querySelector(INDEX)?.textContent === String(region.region_index);
}

function shapeOf(region) {
  const snapshot = region.$treenode.snapshot;
  const known = seen.get(region);
  if (known?.snapshot === snapshot) return known.shape;
  const shape = JSON.stringify([
    ...["x", "y", "width", "height", "rotation", "radiusX", "radiusY"].map((key) => number(snapshot[key])),
    snapshot.points?.map((point) => [number(point.x ?? point[0]), number(point.y ?? point[1])]),
    snapshot.vertices?.map((point) => [number(point.x), number(point.y), point.controlPoint1, point.controlPoint2]),
    snapshot.touches?.map((touch) => [touch.type, touch.points.length, touch.relativePoints?.length]),
    snapshot.rle?.length,
    snapshot.closed,
    [snapshot.imageDataURL?.length, snapshot.imageDataURL?.slice(-48)],
    snapshot.maskDataURL?.length,
  ]);
  seen.set(region, { snapshot, shape });
  return shape;
}

const number = (value) => (typeof value === "number" ? Math.round(value * 100) / 100 : null);

function amend(change) {
  const { history } = annotation();
  const last = !history.canRedo;
  history.freeze(OURS);
  try {
    change();
  } finally {
    // Undo takes the text back with what it belongs to; what was undone can still be redone.
    if (last) {
      history.setReplaceNextUndoState(true);
      history.unfreeze(OURS);
    } else history.safeUnfreeze(OURS);
  }
}

const rowsByNumber = () =>
  new Map([...document.querySelectorAll(ROW)].map((row) => [row.querySelector(INDEX)?.textContent, row]));

function inputsOf(id, name) {
  const region = find(id);
  if (!region) return [];
  const at = listed(region).findIndex((tag) => tag.name === name);
  if (at < 0) return selected() === id ? document.getElementsByName(name) : [];
  const row = rowsByNumber().get(String(region.region_index));
  return row?.querySelectorAll(FIELD)[at]?.querySelectorAll(INPUT) ?? [];
}

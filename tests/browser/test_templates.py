"""Every template in the real editor: it opens, and what we answer is shown there and comes back unchanged.

One Label Studio and one Chromium for all; the model is a stub that records what it was shown.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from backend.up.demo import template
from regiontext.labelstudio.answers import answer_of
from regiontext.labelstudio.config import parse_config
from regiontext.labelstudio.decode import is_shape
from tests.backend.site import Site, running_site
from tests.backend.stubs import StubModel, pictures
from tests.browser.editor import Editor, sign_in
from tests.browser.street import CAR, SIZE, TRUCK, street
from tests.label_studio_server import LabelStudioServer

pytestmark = [pytest.mark.browser, pytest.mark.label_studio]

BLUE, PURPLE = "#1864ab", "#5f3dc4"
# What the stub chooses where it may.
ANSWERS = ("vehicle > truck", "body > dent", "4", "whole", "plastic", "left of")

XML_OF_EVERY_KIND = """<View style="display: flex">
  <View style="flex: 1 1 auto"><Image name="image" value="$image"/></View>
  <View style="flex: 0 0 260px">
    <RectangleLabels name="rectangle" toName="image" smart="true">
      <Label value="Object" selected="true"/>
    </RectangleLabels>
    <View visibleWhen="region-selected">
      <Choices name="kind" toName="image" perRegion="true" choice="single" allowNested="true"
               layout="vertical">
        <Choice value="vehicle" alias="veh">
          <Choice value="car" alias="auto"/>
          <Choice value="truck"/>
        </Choice>
        <Choice value="person"/>
      </Choices>
      <Taxonomy name="damage" toName="image" perRegion="true">
        <Choice value="nothing" alias="none"/>
        <Choice value="body" alias="b"><Choice value="dent" alias="d"/></Choice>
      </Taxonomy>
      <Rating name="clarity" toName="image" perRegion="true" maxRating="4"/>
      <Number name="wheels" toName="image" perRegion="true" min="0" max="20" step="0.5"/>
    </View>
  </View>
</View>"""


@dataclass(frozen=True)
class Promise:
    """What the page of a template must show. box: its rectangle control; labels, titles: words in the side panel."""

    box: str
    labels: tuple[str, ...]
    titles: tuple[str, ...] = ()
    captions: bool = True


PROMISES = {
    "attributes": Promise("rectangle", ("Box", "Polygon", "Point"), ("Material of this region",)),
    "attributes_relations": Promise(
        "rectangle",
        ("Box", "Ellipse", "Polygon", "Brush", "Point"),
        ("Material of this region", "Relations"),
    ),
    "sam_masks": Promise("box", ("Point", "Box", "Mask")),
    "multi_image": Promise("rectangle", ("Box", "Polygon", "Point"), ("Is it whole?",)),
    "closed_vocabulary": Promise(
        "rectangle",
        ("Box", "Polygon", "Point"),
        (
            "What it is",
            "What is wrong with it",
            "How clearly it is seen (1 to 5)",
            "Wheels in sight",
        ),
        captions=False,
    ),
}


def say(words: str, options: list[str]) -> str:
    if options:
        return next((answer for answer in ANSWERS if answer in options), options[0])
    return "about 2 of them" if "wheels" in words else "a red truck"


@pytest.fixture(scope="module")
def site_of(
    label_studio: LabelStudioServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Site]]:
    """`site_of("attributes")`: a project with that template (or XML), connected; one for each."""
    made: dict[str, Site] = {}
    with ExitStack() as stack:

        def site(name: str) -> Site:
            if name not in made:
                xml = name if name.startswith("<") else template(name)
                folder = tmp_path_factory.mktemp("backend")
                running = running_site(label_studio, xml, folder, StubModel(say=say))
                made[name] = stack.enter_context(running)
            return made[name]

        yield site


@pytest.fixture
def page(
    browser: Browser, label_studio: LabelStudioServer, request: pytest.FixtureRequest
) -> Iterator[Page]:
    """A signed-in page on which no script has failed when the test ends; its last sight is kept."""
    context = browser.new_context(viewport={"width": 1440, "height": 960})
    opened, failures = context.new_page(), list[str]()
    opened.on("pageerror", lambda error: failures.append(str(error)))
    sign_in(opened, label_studio.url, label_studio.email, label_studio.password)
    yield opened
    Path("test-artifacts").mkdir(exist_ok=True)
    opened.screenshot(path=f"test-artifacts/{request.node.name[:80]}.png")
    context.close()
    assert failures == []


def add_task(site: Site) -> int:
    """A task with the street, or with two of them for a template of several images."""
    before = {task["id"] for task in site.tasks()}
    where = f"/api/projects/{site.project}/import"
    if parse_config(site.call("GET", f"/api/projects/{site.project}")["label_config"]).multi:
        urls = []
        for colour in (BLUE, PURPLE):
            files = {"file": (f"{colour[1:]}.png", street(car=colour), "image/png")}
            sent = site.call("POST", where, params={"commit_to_project": "false"}, files=files)
            kept = site.call("GET", f"/api/import/file-upload/{sent['file_upload_ids'][0]}")
            urls.append(f"/data/{kept['file']}")
        site.call("POST", where, json=[{"images": urls}])
    else:
        site.call("POST", where, files={"file": ("street.png", street(), "image/png")})
    (added,) = {task["id"] for task in site.tasks()} - before
    return int(added)


def box(id: str, place: tuple[int, int, int, int], control: str, item: int = 0) -> dict[str, Any]:
    (x0, y0, x1, y1), (width, height) = place, SIZE
    value = {
        "x": 100 * x0 / width,
        "y": 100 * y0 / height,
        "width": 100 * (x1 - x0) / width,
        "height": 100 * (y1 - y0) / height,
        "rotation": 0,
        "rectanglelabels": ["Object"],
    }
    return {
        "id": id,
        "from_name": control,
        "to_name": "image",
        "type": "rectanglelabels",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "item_index": item,
        "value": value,
    }


def predicted(site: Site, task: int, *boxes: dict[str, Any]) -> list[dict[str, Any]]:
    """The results of our batch prediction for boxes that a detector found."""
    body = {"task": task, "model_version": "detector", "result": list(boxes)}
    site.call("POST", "/api/predictions", json=body)
    site.retrieve()
    (ours,) = [p for p in site.predictions(task) if p["model_version"] != "detector"]
    found: list[dict[str, Any]] = ours["result"]
    return found


def submitted(site: Site, task: int) -> list[dict[str, Any]]:
    (annotation,) = site.call("GET", f"/api/tasks/{task}/annotations")
    found: list[dict[str, Any]] = annotation["result"]
    return found


def by_place(results: list[dict[str, Any]]) -> dict[tuple[str, str], Any]:
    return {(item["id"], item["from_name"]): item for item in results if "from_name" in item}


def shown(page: Page) -> dict[str, Any]:
    """What the closed fields of the selected region show."""
    return {
        "kind": [
            item.get_attribute("name") for item in page.locator(".lsf-choices input:checked").all()
        ],
        "damage": page.locator(".htx-taxonomy .ant-select-selection-item").all_inner_texts(),
        "clarity": page.locator(".ant-rate-star-full").count(),
        "wheels": page.locator("input[name=wheels]").input_value(),
    }


def opened(page: Page, site: Site, task: int) -> Editor:
    editor = Editor(page, page.url.split("/", 3)[0] + "//" + page.url.split("/")[2], site.project)
    editor.open(task, SIZE)
    return editor


def keep_picture(page: Page, name: str) -> None:
    """A screenshot for the docs, where REGIONTEXT_SCREENSHOTS says: half the pixels are enough to see the layout."""
    if not (folder := os.environ.get("REGIONTEXT_SCREENSHOTS")):
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    path = Path(folder) / f"template-{name.replace('_', '-')}.png"
    page.screenshot(path=path)
    Image.open(path).convert("RGB").quantize(128).save(path, optimize=True)


def expect_closed_answers(page: Page) -> None:
    """Label Studio shows one field after the other."""
    expect(page.locator(".lsf-choices input:checked")).to_have_count(1)
    expect(page.locator(".htx-taxonomy .ant-select-selection-item")).to_have_count(1)
    expect(page.locator(".ant-rate-star-full")).to_have_count(4)
    expect(page.locator("input[name=wheels]")).to_have_value("2")
    assert shown(page) == {"kind": ["truck"], "damage": ["dent"], "clarity": 4, "wheels": "2"}


def test_every_template_has_a_promise() -> None:
    shipped = {path.stem for path in Path("templates").glob("*.xml")}
    assert shipped == set(PROMISES)


@pytest.mark.parametrize("name", PROMISES)
def test_it_opens_with_its_tools_and_fields_filled(
    name: str, site_of: Callable[[str], Site], page: Page
) -> None:
    promise, site = PROMISES[name], site_of(name)
    task = add_task(site)
    ours = predicted(site, task, box("t", TRUCK, promise.box), box("c", CAR, promise.box))
    editor = opened(page, site, task)
    expect(page.locator(".lsf-errors")).to_have_count(0)
    expect(editor.regions).to_have_count(2)
    labels = page.locator(".lsf-label")
    for label in promise.labels:
        expect(labels.filter(has_text=label).first).to_be_visible()
    if promise.captions:
        assert editor.wait_for_captions(2) == ["a red truck"] * 2
    editor.regions.first.click()
    for title in (*promise.titles, "Ask for all regions"):
        expect(page.get_by_role("heading", name=title, exact=True)).to_be_visible()
    keep_picture(page, name)
    page.keyboard.press("u")
    editor.auto_annotation()
    editor.smart_tool("rectangle-tool")
    editor.smart_tool("key-point-tool")
    editor.submit()
    kept = by_place(submitted(site, task))
    assert kept.keys() == by_place(ours).keys()
    for place, item in by_place(ours).items():
        assert kept[place]["value"] == item["value"], place


def test_closed_answers_are_shown_and_submitted_as_they_are(
    site_of: Callable[[str], Site], page: Page
) -> None:
    site = site_of("closed_vocabulary")
    task = add_task(site)
    ours = by_place(predicted(site, task, box("t", TRUCK, "rectangle")))
    editor = opened(page, site, task)
    editor.regions.first.click()
    expect_closed_answers(page)
    editor.submit()
    kept = by_place(submitted(site, task))
    place = {k: v for k, v in ours["t", "rectangle"]["value"].items() if k != "rectanglelabels"}
    for field, answer in {
        "kind": {"choices": [["vehicle", "truck"]]},
        "damage": {"taxonomy": [["body", "dent"]]},
        "clarity": {"rating": 4},
        "wheels": {"number": 2},
    }.items():
        assert ours["t", field]["value"] == place | answer
        assert kept["t", field]["value"] == place | answer


def test_a_drawn_box_gets_closed_answers_too(site_of: Callable[[str], Site], page: Page) -> None:
    site = site_of("closed_vocabulary")
    task = add_task(site)
    editor = opened(page, site, task)
    editor.auto_annotation()
    with page.expect_response(lambda r: "interactive-annotating" in r.url):
        editor.smart_box(TRUCK)
    expect(editor.regions).to_have_count(1)
    page.wait_for_timeout(500)
    editor.regions.first.click()
    expect_closed_answers(page)


def test_what_an_annotator_chooses_is_read_and_shown_again_aliases_included(
    site_of: Callable[[str], Site], page: Page
) -> None:
    site = site_of(XML_OF_EVERY_KIND)
    task = add_task(site)
    body = {"task": task, "model_version": "detector", "result": [box("t", TRUCK, "rectangle")]}
    site.call("POST", "/api/predictions", json=body)
    editor = opened(page, site, task)
    editor.regions.first.click()
    page.locator("input[name=car]").click()
    page.locator(".ant-rate-star").nth(2).click()
    page.locator("input[name=wheels]").fill("2.5")
    page.keyboard.press("Tab")
    page.locator(".htx-taxonomy").click()
    page.locator(".ant-select-tree-switcher_close").first.click()
    for choice in ("nothing", "dent"):
        tree = page.locator(".ant-select-tree-treenode").filter(has_text=choice)
        tree.locator(".ant-select-tree-checkbox").click()
    page.keyboard.press("Escape")
    editor.submit()
    config = parse_config(XML_OF_EVERY_KIND)
    results = [item for item in submitted(site, task) if not is_shape(item)]
    answers = {item["from_name"]: answer_of(item["type"], item["value"]) for item in results}
    assert answers == {
        "kind": ("veh > auto",),
        "damage": ("none", "b > d"),
        "clarity": ("3",),
        "wheels": ("2.5",),
    }
    for name in ("kind", "damage", "clarity"):
        field = config.field(name)
        assert field is not None and set(answers[name]) <= set(field.options)
    editor.open(task, SIZE)
    editor.regions.first.click()
    expect(page.locator("input[name=wheels]")).to_have_value("2.5")
    assert shown(page) == {
        "kind": ["car"],
        "damage": ["nothing", "dent"],
        "clarity": 3,
        "wheels": "2.5",
    }


def cars(stub: StubModel, since: int) -> set[str]:
    """The colours of the cars in what the model was shown from that question on."""
    seen = set()
    for request in stub.asked[since:]:
        for picture in pictures(request):
            colours = {c for _, c in picture.convert("RGB").getcolors(1 << 20) or []}
            seen |= {name for name in (BLUE, PURPLE) if _is_near(name, colours)}
    return seen


def _is_near(name: str, colours: set[Any]) -> bool:
    wanted = tuple(bytes.fromhex(name[1:]))
    return any(max(abs(a - b) for a, b in zip(c, wanted, strict=True)) < 8 for c in colours)


def test_a_box_on_the_second_image_is_described_from_the_second_image(
    site_of: Callable[[str], Site], page: Page
) -> None:
    site = site_of("multi_image")
    task = add_task(site)
    editor = opened(page, site, task)
    editor.auto_annotation()
    before = len(site.stub.asked)
    editor.smart_box(CAR)
    assert editor.wait_for_captions(1) == ["a red truck"]
    assert cars(site.stub, before) == {BLUE}

    page.locator(
        ".lsf-pagination__btn_arrow-right:not(.lsf-pagination__btn_arrow-right-double)"
    ).click()
    expect(page.locator(".lsf-pagination__page-indicator")).to_contain_text("2")
    page.wait_for_timeout(1000)
    before = len(site.stub.asked)
    editor.smart_box(CAR)
    editor.wait_for_captions(2)
    assert cars(site.stub, before) == {PURPLE}
    editor.submit()
    results = submitted(site, task)
    per_image = {
        index: {item["from_name"] for item in results if item["item_index"] == index}
        for index in (0, 1)
    }
    assert per_image == {index: {"rectangle", "caption", "whole"} for index in (0, 1)}
    ids = {index: {r["id"] for r in results if r["item_index"] == index} for index in (0, 1)}
    assert len(ids[0]) == len(ids[1]) == 1 and ids[0] != ids[1]


def test_a_batch_prediction_describes_each_box_from_its_own_image(
    site_of: Callable[[str], Site], page: Page
) -> None:
    site = site_of("multi_image")
    task = add_task(site)
    before = len(site.stub.asked)
    ours = predicted(site, task, box("second", CAR, "rectangle", item=1))
    assert cars(site.stub, before) == {PURPLE}
    assert {item["item_index"] for item in ours} == {1}
    editor = opened(page, site, task)
    editor.submit()
    assert {item["item_index"] for item in submitted(site, task)} == {1}

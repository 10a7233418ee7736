"""What an annotator does in Label Studio's editor, with mouse and keyboard only.

Coordinates are pixels of the image being labelled, x right, y down; they are turned into screen positions by where the
image stands on the page. Nothing here reaches into the editor's own objects: what a test reads is what the page shows.
"""

from __future__ import annotations

from collections.abc import Iterable

from playwright.sync_api import Locator, Page, expect

__all__ = ["Editor", "sign_in"]


def sign_in(page: Page, url: str, email: str, password: str) -> None:
    """Fill in Label Studio's login form and wait for the first page behind it."""
    page.goto(f"{url}/user/login")
    page.fill("input[name=email]", email)
    page.fill("input[name=password]", password)
    page.keyboard.press("Enter")
    page.wait_for_function("!location.pathname.includes('login')")


class Editor:
    """One task open in the labeling view."""

    def __init__(self, page: Page, url: str, project: int) -> None:
        self.page = page
        self._url = url
        self._project = project
        self._image_size = (1, 1)

    def open(self, task: int, image_size: tuple[int, int]) -> None:
        """Open a task of the project; `image_size` is (W, H) of its image in pixels."""
        self._image_size = image_size
        self.page.goto(f"{self._url}/projects/{self._project}/data?task={task}")
        expect(self.page.locator("canvas").first).to_be_visible(timeout=60_000)
        expect(self._submit_or_update).to_be_visible(timeout=30_000)
        # The canvas takes its final size only when the image has loaded.
        self.page.wait_for_function(
            "() => { const i = document.querySelector('img[alt=\"LS\"], .lsf-object img, img');"
            " return i && i.complete; }"
        )
        self.page.wait_for_timeout(800)

    # Toggles and tools

    def auto_annotation(self, *, accept: bool = True) -> None:
        """Switch Auto-Annotation on, and Auto-Accept Suggestions on or off."""
        self._toggle("bottombar-auto-annotation-toggle", "Auto-Annotation", on=True)
        self._toggle("bottombar-auto-accept-toggle", "Auto-Accept Suggestions", on=accept)
        self._leave_inputs()

    def smart_tool(self, name: str) -> None:
        """Choose a smart tool by its name in the toolbar: rectangle-tool, key-point-tool, …"""
        smart = self.page.locator("button.lsf-tool_smart")
        smart.first.hover()
        choice = self.page.locator(f"button.lsf-tool_smart[aria-label={name}]:visible")
        choice.first.click()
        expect(
            self.page.locator(f"button.lsf-tool_smart.lsf-tool_active[aria-label={name}]")
        ).to_have_count(1)

    def label(self, hotkey: str) -> None:
        """Choose a label by the number shown on it; with a region selected the key would relabel that one."""
        self.page.keyboard.press("u")
        self.page.keyboard.press(hotkey)

    def smart_box(self, box: Iterable[float], label: str = "1") -> None:
        """Draw a box with the smart tool; Label Studio forgets the label after each region."""
        self.label(label)
        self.smart_tool("rectangle-tool")
        self.drag(box)

    # Drawing

    def drag(self, box: Iterable[float]) -> None:
        """Drag from the top-left to the bottom-right corner of `box` (x0, y0, x1, y1)."""
        x0, y0, x1, y1 = box
        self.page.mouse.move(*self._screen(x0, y0))
        self.page.mouse.down()
        self.page.mouse.move(*self._screen((x0 + x1) / 2, (y0 + y1) / 2), steps=5)
        self.page.mouse.move(*self._screen(x1, y1), steps=5)
        self.page.mouse.up()

    def click(self, x: float, y: float, *, control: bool = False, alt: bool = False) -> None:
        """Click on the image, with the Control or Alt key held if `control` or `alt`."""
        held = [key for key, down in (("Control", control), ("Alt", alt)) if down]
        for key in held:
            self.page.keyboard.down(key)
        self.page.mouse.click(*self._screen(x, y))
        for key in held:
            self.page.keyboard.up(key)

    def polygon(self, points: Iterable[tuple[float, float]]) -> None:
        """Click the corners of a polygon and close it on the first."""
        corners = list(points)
        for x, y in [*corners, corners[0]]:
            self.page.mouse.click(*self._screen(x, y))
            self.page.wait_for_timeout(120)

    # The region list

    @property
    def regions(self) -> Locator:
        """The rows of the region list."""
        return self.page.locator(".lsf-outliner-item__title")

    @property
    def captions(self) -> Locator:
        """The caption boxes that hold a text, in the order of the region list."""
        return self.page.get_by_test_id("textarea-region-textarea")

    def caption_texts(self) -> list[str]:
        """What the caption boxes show."""
        return [box.input_value() for box in self.captions.all()]

    def wait_for_captions(self, count: int, seconds: float = 20) -> list[str]:
        """Wait until `count` regions show a caption."""
        expect(self.captions).to_have_count(count, timeout=seconds * 1000)
        return self.caption_texts()

    def rewrite(self, index: int, text: str) -> None:
        """Replace the caption of the region at `index` by typing."""
        box = self.captions.nth(index)
        box.click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.type(text, delay=5)
        self.page.keyboard.press("Tab")
        expect(box).to_have_value(text)
        self._leave_inputs()

    # Finishing

    def submit(self) -> None:
        """Press Submit (or Update) and wait until Label Studio has stored the annotation."""
        with self.page.expect_response(
            lambda r: "/annotations" in r.url and r.request.method in ("POST", "PATCH"),
            timeout=30_000,
        ) as stored:
            self._submit_or_update.click()
        assert stored.value.ok, f"Label Studio answered {stored.value.status} to the submit"

    def screenshot(self, path: str) -> None:
        """A picture of the whole page."""
        self.page.screenshot(path=path)

    # Private

    @property
    def _submit_or_update(self) -> Locator:
        return self.page.locator(
            "[data-testid=bottombar-submit-button], [data-testid=bottombar-update-button]"
        ).first

    def _toggle(self, test_id: str, text: str, *, on: bool) -> None:
        box = self.page.get_by_test_id(test_id)
        if box.is_checked() != on:
            self.page.get_by_text(text, exact=True).click()
            expect(box).to_be_checked(checked=on)

    def _leave_inputs(self) -> None:
        """Hotkeys are ignored while an input has the focus: click where nothing is."""
        bar = self.page.get_by_test_id("bottombar-submit-button").or_(
            self.page.get_by_test_id("bottombar-update-button")
        )
        place = bar.first.bounding_box()
        assert place is not None
        self.page.mouse.click(place["x"] - 60, place["y"] + place["height"] / 2)

    def _screen(self, x: float, y: float) -> tuple[float, float]:
        canvas = self.page.locator("canvas").first.bounding_box()
        assert canvas is not None, "the image is not on the page"
        width, height = self._image_size
        return canvas["x"] + x * canvas["width"] / width, canvas["y"] + y * canvas[
            "height"
        ] / height

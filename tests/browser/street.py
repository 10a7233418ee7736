"""A painted street: a picture to open templates on, with something to name, to count and to judge."""

from __future__ import annotations

import io

from PIL import Image, ImageDraw

__all__ = ["CAR", "PERSON", "SIZE", "TRUCK", "street"]

SIZE = (800, 600)
# (x0, y0, x1, y1) px
TRUCK = (70, 200, 350, 420)
CAR = (450, 300, 690, 420)
PERSON = (710, 280, 760, 430)


def street(*, truck: str = "#c92a2a", car: str = "#1864ab") -> bytes:
    """The picture as PNG bytes; other colours are another picture, so another arm and another name."""
    image = Image.new("RGB", SIZE, "#a5d8ff")
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, 330, 800, 600), fill="#868e96")
    for x in range(20, 800, 160):
        pen.rectangle((x, 500, x + 80, 512), fill="#f8f9fa")
    pen.rectangle((70, 200, 260, 380), fill=truck)
    pen.rectangle((265, 260, 350, 380), fill="#ffd8a8")
    pen.rectangle((290, 275, 340, 315), fill="#d0ebff")
    pen.rectangle((450, 345, 690, 395), fill=car)
    pen.polygon(((495, 345), (530, 300), (620, 300), (655, 345)), fill=car)
    pen.rectangle((530, 310, 615, 342), fill="#d0ebff")
    for x, y, r in ((120, 385, 35), (300, 385, 35), (500, 395, 25), (640, 395, 25)):
        pen.ellipse((x - r, y - r, x + r, y + r), fill="#212529")
        pen.ellipse((x - r // 3, y - r // 3, x + r // 3, y + r // 3), fill="#ced4da")
    pen.ellipse((722, 280, 748, 306), fill="#ffc9c9")
    pen.rectangle((720, 308, 750, 370), fill="#2b8a3e")
    pen.rectangle((722, 370, 733, 430), fill="#343a40")
    pen.rectangle((737, 370, 748, 430), fill="#343a40")
    file = io.BytesIO()
    image.save(file, format="PNG", optimize=True)
    return file.getvalue()

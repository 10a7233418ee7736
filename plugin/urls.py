"""Label Studio's own addresses, and the assistant's before them."""

from __future__ import annotations

from core.urls import *  # type: ignore[import-not-found]  # noqa: F403
from core.urls import urlpatterns as label_studio
from django.urls import path  # type: ignore[import-not-found]

from plugin import smart_tools, views

urlpatterns = [
    path("api/ml/<int:pk>/interactive-annotating", smart_tools.Annotating.as_view()),
    path("regiontext/page/<str:version>/<str:name>", views.page_file, name="regiontext-page"),
    path("regiontext/assist", views.assist, name="regiontext-assist"),
    path("regiontext/<str:what>", views.note, name="regiontext-note"),
    *label_studio,
]

"""Label Studio's own addresses, and the assistant's before them."""

from __future__ import annotations

from core.urls import *  # type: ignore[import-not-found]  # noqa: F403
from core.urls import urlpatterns as label_studio
from django.urls import path  # type: ignore[import-not-found]

from plugin import views

urlpatterns = [
    path("regiontext/page/<str:version>/<str:name>", views.page_file, name="regiontext-page"),
    path("regiontext/assist", views.assist, name="regiontext-assist"),
    path("regiontext/unseen", views.unseen, name="regiontext-unseen"),
    *label_studio,
]

"""Sets the embedded Label Studio's account right: run when it does not accept the token we keep.

That happens when the token was reset in its pages, when credentials.json was lost, or when the first
start was killed at a bad moment. Run as a program in Label Studio's environment, with the account in
LABEL_STUDIO_USERNAME, _PASSWORD and _USER_TOKEN; the password is set only where
REGIONTEXT_SET_PASSWORD says so, because its owner may have changed it.
"""

from __future__ import annotations

import os
from importlib import import_module

__all__ = ["main"]


def main() -> None:
    """Make the user, its organisation and its token what the environment says."""
    username = os.environ["LABEL_STUDIO_USERNAME"]
    password = os.environ["LABEL_STUDIO_PASSWORD"]
    key = os.environ["LABEL_STUDIO_USER_TOKEN"]
    # Label Studio's own set-up of Django; its packages exist only after it.
    import_module("label_studio.server")._setup_env()
    users = import_module("users.models").User.objects
    organizations = import_module("organizations.models").Organization
    tokens = import_module("rest_framework.authtoken.models").Token.objects

    user = users.filter(email=username).first()
    if user is None:
        user = users.create_user(email=username, password=password)
        user.is_staff = user.is_superuser = True
        user.save()
    elif os.environ.get("REGIONTEXT_SET_PASSWORD"):
        user.set_password(password)
        user.save()
    organization = organizations.objects.first()
    if organization is None:
        organization = organizations.create_organization(
            created_by=user, title="Label Studio", legacy_api_tokens_enabled=True
        )
    elif not organization.has_user(user):
        organization.add_user(user)
    user.active_organization = organization
    user.save(update_fields=["active_organization"])
    organization.jwt.legacy_api_tokens_enabled = True
    organization.jwt.save()
    tokens.filter(user=user).delete()
    tokens.create(user=user, key=key)


if __name__ == "__main__":
    main()

"""django-tenants' own settings for its tests, with the database of the server under test instead of one that Django
creates: the extension is in this one."""

from dts_test_project.settings import *  # noqa: F403

DATABASES["default"]["TEST"] = {"NAME": DATABASES["default"]["NAME"]}  # noqa: F405

"""Django's command line, on the database of the environment."""

import os
import sys
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management import execute_from_command_line

url = urlsplit(os.environ["POSTERN_TEST_URL"])
settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", "NAME": url.path[1:], "USER": url.username,
                           "PASSWORD": url.password, "HOST": url.hostname, "PORT": url.port}},
    INSTALLED_APPS=["django_shop"], USE_TZ=True)
execute_from_command_line(sys.argv)

"""A minimal Django project around the LMS's own queue server (edx-submissions), and a way to steer it.

Run by lab_process.py under gunicorn, in the virtualenv `.venv-xqueue`; imports nothing of the project.
One process with several threads, so that what /control/ switches holds for every request.

Environment: LAB_FOLDER (scratch: media and secrets), LAB_DB_PORT (PostgreSQL on 127.0.0.1).

Runs in: tools (tests).
"""

from __future__ import annotations

import json
import os
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import django
from django.conf import settings

FOLDER = Path(os.environ["LAB_FOLDER"])
DATABASE = {
    "ENGINE": "django.db.backends.postgresql",
    "NAME": "postgres",
    "USER": "lab",
    "HOST": "127.0.0.1",
    "PORT": os.environ["LAB_DB_PORT"],
    "ATOMIC_REQUESTS": True,  # as the LMS has it
}

settings.configure(
    SECRET_KEY="only for this laboratory",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.sites",
        "django.contrib.messages",
        "release_util",
        "submissions",
    ],
    MIDDLEWARE=[
        "django.middleware.common.CommonMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    DATABASES={"default": DATABASE, "read_replica": DATABASE},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    USE_TZ=True,
    SITE_ID=1,
    MEDIA_ROOT=str(FOLDER / "media"),
    MEDIA_URL="/media/",
    # Three iterations of hashing instead of a million: the login's cost is not what is tested.
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    REST_FRAMEWORK={"DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"]},
    SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"),
    LOGGING_CONFIG=None,
)
django.setup()

from django.contrib.auth.models import Group, User  # noqa: E402
from django.contrib.sessions.models import Session  # noqa: E402
from django.core.files.base import ContentFile  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.db import transaction  # noqa: E402
from django.http import HttpRequest, HttpResponse, JsonResponse  # noqa: E402
from django.urls import include, path, re_path  # noqa: E402
from django.utils import timezone  # noqa: E402
from django.views.decorators.csrf import csrf_exempt  # noqa: E402
from django.views.static import serve  # noqa: E402
from openedx_events.learning.signals import EXTERNAL_GRADER_SCORE_SUBMITTED  # noqa: E402
from submissions import api, urls  # noqa: E402
from submissions.models import ExternalGraderDetail, Score  # noqa: E402

EVENTS: list[dict[str, object]] = []
SWITCHES: dict[str, object] = {}
REQUESTS: list[str] = []


def hear_score(signal: object, sender: object, score: object, **_: object) -> None:
    """Stands where the LMS hears of a score: records it, or is slow, or fails, as switched."""
    seconds = float(SWITCHES.get("score_sleep_s", 0))  # type: ignore[arg-type]
    if seconds:
        time.sleep(seconds)
    raises = SWITCHES.get("score_raises")
    if raises is True or (isinstance(raises, list) and score.submission_id in raises):  # type: ignore[attr-defined]
        raise RuntimeError("the course or the block is gone")
    EVENTS.append({"points_earned": score.points_earned, "score_msg": score.score_msg})  # type: ignore[attr-defined]


EXTERNAL_GRADER_SCORE_SUBMITTED.connect(hear_score)


@csrf_exempt
@transaction.non_atomic_requests
def control(request: HttpRequest) -> HttpResponse:
    """POST {"do": verb, ...}: see the functions below."""
    order = json.loads(request.body)
    verb = VERBS[order.pop("do")]
    return JsonResponse({"answer": verb(**order)})


def setup() -> None:
    """Two users: `grader` in the group xqueue, `outsider` not in it."""
    group, _ = Group.objects.get_or_create(name="xqueue")
    for name in ("grader", "outsider"):
        if not User.objects.filter(username=name).exists():
            User.objects.create_user(name, password=f"{name}-password")
    User.objects.get(username="grader").groups.add(group)


def enqueue(
    queue: str,
    answer: object,
    grader: str = "",
    points: int = 1,
    files: dict[str, str] | None = None,
    student: str = "",
) -> int:
    """Queue a submission as the LMS does; returns the Submission's id, which is the submission_id.

    Those of one `student` are attempts at one problem; without one, each is somebody else's at another.
    """
    count = ExternalGraderDetail.objects.count()
    who, what = student or f"student-{count}", f"i-{student or count}"
    detail = api.create_external_grader_detail(
        {"student_id": who, "course_id": "c", "item_id": what, "item_type": "problem"},
        answer,
        queue_name=queue,
        queue_key=f"key-{count}",
        grader_file_name=grader,
        points_possible=points,
        files={
            name: SimpleNamespace(file=ContentFile(text.encode(), name="upload"))
            for name, text in (files or {}).items()
        },
    )
    return int(detail.submission_id)


def gradebook(learner: str) -> list[int]:
    """(earned, possible) as the gradebook reads it, for the problem of a learner of `enqueue`."""
    (score,) = api.get_scores("c", learner).values()
    return [score["points_earned"], score["points_possible"]]


def state(submission: int) -> dict[str, object]:
    """What has become of it; `scores` as (earned, possible) in the order they were stored."""
    detail = ExternalGraderDetail.objects.get(submission_id=submission)
    rows = Score.objects.filter(submission_id=submission).order_by("id")
    return {
        "status": detail.status,
        "failures": detail.num_failures,
        "key": detail.pullkey,
        "reply": detail.grader_reply,
        "scores": [[row.points_earned, row.points_possible] for row in rows],
    }


def age(submission: int, minutes: int) -> None:
    """Let so many minutes have passed since its last change."""
    when = timezone.now() - timedelta(minutes=minutes)
    ExternalGraderDetail.objects.filter(submission_id=submission).update(status_time=when)


def standing() -> list[dict[str, object]]:
    """What has become of everything so far; `scores` as (earned, when), in the order they were stored."""
    details = ExternalGraderDetail.objects.select_related("submission__student_item").order_by("id")
    scores: dict[int, list[list[float]]] = {}
    for row in Score.objects.order_by("id"):
        scores.setdefault(row.submission_id, []).append([row.points_earned, row.created_at.timestamp()])
    return [
        {
            "student": detail.submission.student_item.student_id,
            "submission": detail.submission_id,
            "status": detail.status,
            "failures": detail.num_failures,
            "reply": detail.grader_reply,
            "scores": scores.get(detail.submission_id, []),
        }
        for detail in details
    ]


def expire(after_s: float) -> int:
    """Let the five minutes be over of what was pulled more than `after_s` ago; how many."""
    since = timezone.now() - timedelta(seconds=after_s)
    late = ExternalGraderDetail.objects.filter(status="pulled", status_time__lt=since)
    return int(late.update(status_time=timezone.now() - timedelta(minutes=6)))


def set_password(user: str, password: str) -> None:
    """Give a user another password; his sessions end."""
    found = User.objects.get(username=user)
    found.set_password(password)
    found.save()
    end_sessions()


def end_sessions() -> None:
    """As after a deploy that resets passwords."""
    Session.objects.all().delete()


def group(user: str, member: bool) -> None:
    """Put a user into the group xqueue, or take it out."""
    groups = User.objects.get(username=user).groups
    (groups.add if member else groups.remove)(Group.objects.get(name="xqueue"))


def events() -> list[dict[str, object]]:
    """The scores that the LMS has heard of, and forget them."""
    found = list(EVENTS)
    EVENTS.clear()
    return found


def requests() -> list[str]:
    """ "METHOD /path" of all requests since the last time, and forget them."""
    found = list(REQUESTS)
    REQUESTS.clear()
    return found


def switch(**wanted: object) -> None:
    """Set what is not usual; everything that is not named goes back. score_*, and SESSION_* settings."""
    SWITCHES.clear()
    settings.SESSION_COOKIE_SECURE = bool(wanted.pop("cookie_secure", False))
    settings.SESSION_COOKIE_DOMAIN = wanted.pop("cookie_domain", None)
    SWITCHES.update(wanted)


_ALL = (
    setup,
    enqueue,
    gradebook,
    state,
    age,
    standing,
    expire,
    set_password,
    end_sessions,
    group,
    events,
    requests,
    switch,
)
VERBS = {f.__name__: f for f in _ALL}

urlpatterns = [
    path("control/", control),
    path("xqueue/", include((urls, "submissions"))),
    re_path(r"^media/(?P<path>.*)$", serve, {"document_root": settings.MEDIA_ROOT}),
]

_django = get_wsgi_application()


def application(environ: dict[str, object], start_response: object) -> object:
    """The WSGI application; counts what comes in besides /control/."""
    where = str(environ["PATH_INFO"])
    if where != "/control/":
        REQUESTS.append(f"{environ['REQUEST_METHOD']} {where}")
    return _django(environ, start_response)


if __name__ == "__main__":
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    setup()

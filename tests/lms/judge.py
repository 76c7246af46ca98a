"""The LMS's own judge of replies: what its problem block makes of one xqueue_body.

Runs in: tools (the tests' virtualenv `.venv-lms`, never our own; see setup.sh and client.py).

Theory of operation: a real `LoncapaProblem` with one `<coderesponse>` is built, put into the state "queued"
as the LMS does after a submit, handed the reply through `CodeResponse.update_score`, and rendered as the page
would render it.  The templates and the parsers are those of the distribution; nothing of capa is replaced.
The context has the names `seed`, `anonymous_student_id` and `secret_answer`, so that a `$name` which the LMS
expands in a message shows.

One JSON object per line comes in on stdin:  {"reply": "<text of the xqueue_body>", "current": true}
("current" false plays a reply to an attempt that is no longer the pending one).  One goes out on stdout:

    valid       the LMS took the text for a grader's reply at all
    correct     the learner sees a tick (null: still waiting)
    points      points stored (null: none)
    msg         the message as stored
    queued      the problem still waits
    html        what stands inside div.external-grader-message once a browser (html5lib) has read the page
    tags        names of the elements in there, in document order
    text        its text
    error       what was raised (the LMS would answer HTTP 500), "" if nothing
"""

from __future__ import annotations

import gettext
import json
import logging
import sys
from types import SimpleNamespace

import django
import html5lib
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["xblocks_contrib.problem.capa"],
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
    USE_TZ=True,
    STATIC_URL="/static/",
    SECRET_KEY="tests only",
)
django.setup()

from django.template.loader import render_to_string  # noqa: E402
from lxml import etree  # noqa: E402
from xblocks_contrib.problem.capa.capa_problem import LoncapaProblem, LoncapaSystem  # noqa: E402
from xblocks_contrib.problem.capa.correctmap import CorrectMap  # noqa: E402

PROBLEM = """<problem>
  <coderesponse queuename="tests">
    <textbox rows="10" cols="70" mode="python"/>
    <codeparam><grader_payload>{"grader": "g.py"}</grader_payload></codeparam>
  </coderesponse>
</problem>"""
KEY, OLD_KEY = "k" * 32, "o" * 32


def new_problem() -> LoncapaProblem:
    """A problem whose answer is queued under KEY."""
    system = LoncapaSystem(
        ajax_url="/ajax",
        anonymous_student_id="ANONYMOUS-ID-OF-THE-LEARNER",
        cache=None,
        can_execute_unsafe_code=lambda: False,
        get_python_lib_zip=lambda: None,
        DEBUG=False,
        i18n=gettext.NullTranslations(),
        render_template=render_to_string,
        resources_fs=SimpleNamespace(root_path="/nonexistent"),
        seed=424242,
        xqueue=SimpleNamespace(interface=None, construct_callback=None, default_queuename="tests"),
    )
    block = SimpleNamespace(correctness_available=lambda: True, display_name="tests", data=PROBLEM)
    problem = LoncapaProblem(PROBLEM, "p", system, block, state={}, seed=424242)
    problem.context["secret_answer"] = "EXPANDED-FROM-THE-CONTEXT"
    (answer_id,) = problem.correct_map.cmap or problem.inputs
    queued = CorrectMap()
    queued.set(
        answer_id, queuestate={"key": KEY, "time": "20260101000000"}, correctness="incomplete", msg="0"
    )
    problem.correct_map.update(queued)
    problem.student_answers = {answer_id: "print(1)"}
    return problem


def judge(reply: str, current: bool) -> dict[str, object]:
    """Everything the module's docstring lists, for one reply."""
    problem = new_problem()
    (answer_id,) = problem.correct_map.cmap
    (response,) = problem.responders.values()
    said: dict[str, object] = dict.fromkeys(("correct", "points", "msg"))
    said.update(valid=False, queued=True, html="", tags=[], text="", error="")
    try:
        said["valid"] = bool(response._parse_score_msg(reply)[0])
        problem.update_score(reply, KEY if current else OLD_KEY)
        state = problem.correct_map
        said["queued"] = state.is_queued(answer_id)
        said["correct"] = {"correct": True, "incorrect": False}.get(state.get_correctness(answer_id))
        said["points"] = state.get_property(answer_id, "npoints")
        said["msg"] = state.get_msg(answer_id)
        page = html5lib.parse(problem.get_html(), treebuilder="lxml", namespaceHTMLElements=False)
        (box,) = page.xpath("//div[@class='external-grader-message']")
        inner = [etree.tostring(child, encoding="unicode") for child in box]
        said["html"] = (box.text or "") + "".join(inner)
        said["tags"] = [element.tag for element in box.iterdescendants(etree.Element)]
        said["text"] = "".join(box.itertext())
    except Exception as error:
        said["error"] = f"{type(error).__name__}: {error}"
    return said


def main() -> None:
    """Judge line by line until stdin ends."""
    logging.disable(logging.CRITICAL)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(judge(asked["reply"], asked.get("current", True))), flush=True)


if __name__ == "__main__":
    main()

"""The embedded XQueue's URLs, as the legacy XQueue has them: 200 with an envelope, 302 without a session, 301
without the slash.

Runs in: queue server, on its event loop. What waits for the disk or hashes a password runs in a thread; an
empty poll does neither.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from email.utils import formatdate
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Route

from xqueue.protocol import encode_pull, encode_reply_header
from xqueue.service import wire
from xqueue.service.auth import Auth
from xqueue.service.callback import Callbacks
from xqueue.service.forms import Form, TooLarge, read_form
from xqueue.service.settings import MAX_QUEUE_NAME, Settings, callback_problem
from xqueue.service.store import Put, Store

_log = logging.getLogger(__name__)

BASE: Final = "/xqueue/"
FILES: Final = "/xqueue-files/"
METHODS: Final = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
CSRF_COOKIE_S: Final = 364 * 86400
HOUSEKEEPING_S: Final = 3600.0

Handler = Callable[["Service", Request], Awaitable[Response]]


def create_app(settings: Settings, *, clock: Callable[[], float] = time.time) -> Starlette:
    """The ASGI application of one embedded XQueue. Deliveries run between its start-up and its shutdown.

    Raises:
        ServiceError: the data folder cannot be used.
    """
    service = Service(settings, clock)
    routes = []
    for verb, (handler, session) in VERBS.items():
        endpoint = partial(_guarded if session else _open, service, handler)
        routes.append(Route(f"{BASE}{verb}/", endpoint, methods=METHODS))
        routes.append(Route(f"{BASE}{verb}", _add_slash, methods=METHODS))
    routes.append(Route(FILES + "{name}", partial(_file, service), methods=["GET", "HEAD"]))
    app = Starlette(routes=routes, lifespan=service.lifespan, exception_handlers={404: _not_found})
    # Starlette would answer 307; the legacy server's 301s stand in the table above.
    app.router.redirect_slashes = False
    return app


class Service:
    """What the handlers share."""

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self.settings = settings
        self.clock = clock
        self.store = Store(settings.data_dir, processing_delay_s=settings.processing_delay_s, clock=clock)
        try:
            self.auth = Auth(settings.users, self.store, session_s=settings.session_s, clock=clock)
            for name in settings.queues:
                self.store.add_queue(name)
            self.queues = self.store.queues() if settings.any_queue else set(settings.queues)
            if settings.retry_undeliverable:
                self.store.retry_undeliverable()
            self.store.sweep_files()
        except BaseException:
            self.store.close()
            raise
        self.callbacks = Callbacks(settings.callback, self.store, clock=clock)

    @contextlib.asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """Between start-up and shutdown: deliveries, and housekeeping once an hour."""
        self.callbacks.start()
        housekeeping = asyncio.create_task(self._keep_house())
        try:
            yield
        finally:
            housekeeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await housekeeping
            await run_in_threadpool(self.callbacks.stop)
            self.store.close()

    async def _keep_house(self) -> None:
        while True:
            count = await run_in_threadpool(self.store.expire, self.clock() - self.settings.keep_s)
            if count:
                _log.info("old submissions forgotten", extra={"count": count})
            await asyncio.sleep(HOUSEKEEPING_S)

    async def form(self, request: Request) -> Form:
        """The request's form. Raises TooLarge."""
        settings = self.settings
        return await read_form(
            request,
            max_form_bytes=settings.max_form_bytes,
            max_upload_bytes=settings.max_upload_bytes,
            max_files=settings.max_files,
        )


# -- The verbs -----------------------------------------------------------------------------------------------


async def status(service: Service, request: Request) -> Response:
    return _csrf_failed() if request.method not in SAFE_METHODS else _ok(wire.STATUS_OK)


async def login(service: Service, request: Request) -> Response:
    if request.method != "POST":
        return _error(wire.LOGIN_REQUIRED)
    form = await service.form(request)
    await form.close()
    name, password = form.fields.get("username"), form.fields.get("password")
    if name is None or password is None:
        return _error(wire.SHORT_LOGIN)
    token = await run_in_threadpool(service.auth.login, name, password)
    if token is None:
        source = request.client.host if request.client else "?"
        _log.warning("login refused", extra={"user": name, "source": source})
        return _error(wire.BAD_LOGIN)
    answer = _ok(wire.LOGGED_IN)
    # The legacy server has a CSRF cookie, too; clients read it and send it back, nothing here asks for it.
    _set_cookie(answer, "csrftoken", secrets.token_hex(16), CSRF_COOKIE_S, http_only=False)
    _set_cookie(answer, "sessionid", token, int(service.settings.session_s), http_only=True)
    return answer


async def logout(service: Service, request: Request) -> Response:
    token = request.cookies.get("sessionid")
    if service.auth.user_of(token) is not None:
        await run_in_threadpool(service.auth.logout, token)
    answer = _ok(wire.GOODBYE)
    if token is not None:
        answer.delete_cookie("sessionid")
    return answer


async def get_queuelen(service: Service, request: Request) -> Response:
    if request.method != "GET":
        return _no_method(request)
    queue = request.query_params.get("queue_name")
    if queue is None:
        return _error(wire.no_queue_name("get_queuelen"))
    if queue not in service.queues:
        return _error(wire.valid_queues(sorted(service.queues)))
    if service.store.is_quiet(queue):
        return _ok(0)
    return _ok(await run_in_threadpool(service.store.length, queue))


async def get_submission(service: Service, request: Request) -> Response:
    if request.method != "GET":
        return _no_method(request)
    queue = request.query_params.get("queue_name")
    if queue is None:
        return _error(wire.no_queue_name("get_submission"))
    if queue not in service.queues:
        return _error(wire.no_such_queue(queue))
    if service.store.is_quiet(queue):
        return _error(wire.queue_is_empty(queue))
    pulled = await run_in_threadpool(service.store.pull, queue)
    if pulled is None:
        return _error(wire.queue_is_empty(queue))
    header = encode_reply_header(pulled.submission_id, pulled.key)
    return _ok(encode_pull(header, pulled.body, pulled.files))


async def put_result(service: Service, request: Request) -> Response:
    if request.method != "POST":
        return _error(wire.PUT_BY_POST)
    form = await service.form(request)
    await form.close()
    reply = form.fields.get("xqueue_body")
    header = wire.read_put_header(form.fields.get("xqueue_header", ""))
    if reply is None or header is None:
        return _error(wire.BAD_REPLY)
    result, letter = await run_in_threadpool(
        service.store.put, header.submission_id, header.submission_key, reply
    )
    if letter is not None:
        service.callbacks.deliver(letter)
    match result:
        case Put.NO_SUBMISSION:
            return _error(wire.NO_SUBMISSION)
        case Put.WRONG_KEY:
            return _error(wire.WRONG_KEY)
        case Put.STORED | Put.KEPT | Put.AGAIN:
            return _ok("")


async def submit(service: Service, request: Request) -> Response:
    if request.method != "POST":
        return _error(wire.SUBMIT_BY_POST)
    form = await service.form(request)
    try:
        return await _submit(service, form)
    finally:
        await form.close()


async def _submit(service: Service, form: Form) -> Response:
    body = form.fields.get("xqueue_body")
    text = form.fields.get("xqueue_header", "")
    header = wire.read_submit_header(text)
    if body is None or header is None:
        return _error(wire.BAD_SUBMIT)
    if header.callback_url:
        problem = callback_problem(header.callback_url, service.settings.callback.hosts)
        if problem:
            _log.warning("submit refused", extra={"queue": header.queue, "reason": problem})
            return _error(problem)
    queue = header.queue
    if queue not in service.queues:
        if not service.settings.any_queue:
            return _error(wire.no_such_queue(queue))
        if not queue or len(queue) > MAX_QUEUE_NAME or not queue.isprintable():
            return _error(wire.BAD_SUBMIT)
        await run_in_threadpool(service.store.add_queue, queue)
        service.queues.add(queue)
    files: dict[str, str] = {}
    if form.files:
        files = await run_in_threadpool(_keep_files, service.store.files_dir, form.files)
    try:
        length = await run_in_threadpool(
            partial(
                service.store.submit,
                queue=queue,
                callback_url=header.callback_url,
                lms_key=header.lms_key,
                header=text,
                body=body,
                files=files,
            )
        )
    except BaseException:
        service.store.remove_files(files.values())
        raise
    return _ok(str(length))


def _keep_files(folder: Path, files: dict[str, UploadFile]) -> dict[str, str]:
    """Writes uploads to disk for good, under names nobody can guess; the uploader's name -> URL."""
    urls: dict[str, str] = {}
    try:
        for name, upload in files.items():
            stored = secrets.token_hex(16)
            urls[name] = FILES + stored
            with (folder / stored).open("xb") as out:
                os.fchmod(out.fileno(), 0o600)
                while chunk := upload.file.read(1 << 20):
                    out.write(chunk)
                out.flush()
                os.fsync(out.fileno())
        if urls:
            _sync_folder(folder)
    except BaseException:
        for url in urls.values():
            (folder / url.rpartition("/")[2]).unlink(missing_ok=True)
        raise
    return urls


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# The verb -> its handler, and whether it needs a session. The busiest first: routes are tried in order.
VERBS: Final[dict[str, tuple[Handler, bool]]] = {
    "get_submission": (get_submission, True),
    "put_result": (put_result, True),
    "get_queuelen": (get_queuelen, True),
    "submit": (submit, True),
    "login": (login, False),
    "logout": (logout, False),
    "status": (status, False),
}


# -- What is the same for all --------------------------------------------------------------------------------


async def _open(service: Service, handler: Handler, request: Request) -> Response:
    try:
        return await handler(service, request)
    except TooLarge:
        settings = service.settings
        text = wire.too_large(f"fields {settings.max_form_bytes} and all of it", settings.max_upload_bytes)
        return _envelope(wire.error(text), 413)


async def _guarded(service: Service, handler: Handler, request: Request) -> Response:
    token = request.cookies.get("sessionid")
    if service.auth.user_of(token) is not None:
        return await _open(service, handler, request)
    if request.method not in SAFE_METHODS and handler in (get_submission, get_queuelen):
        return _csrf_failed()
    back = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    answer = Response(status_code=302, headers={"Location": f"{BASE}login/?next={quote(back)}"})
    if token is not None:
        answer.delete_cookie("sessionid")
    return answer


async def _add_slash(request: Request) -> Response:
    query = f"?{request.url.query}" if request.url.query else ""
    return Response(status_code=301, headers={"Location": f"{request.url.path}/{query}"})


async def _file(service: Service, request: Request) -> Response:
    name = request.path_params["name"]
    path = service.store.files_dir / name
    if not re.fullmatch(r"[0-9a-f]{32}", name) or not path.is_file():
        return await _not_found(request, None)
    headers = {"X-Content-Type-Options": "nosniff", "Content-Disposition": "attachment"}
    return FileResponse(path, media_type="application/octet-stream", headers=headers)


async def _not_found(request: Request, _: Exception | None) -> Response:
    return HTMLResponse("<!doctype html><title>Not Found</title><h1>Not Found</h1>\n", 404)


def _csrf_failed() -> Response:
    return HTMLResponse("<!doctype html><title>403 Forbidden</title><h1>Forbidden</h1>\n", 403)


def _no_method(request: Request) -> Response:
    """The legacy server asks a POST for a CSRF token.

    A HEAD there takes a submission away unseen, here it does not.
    """
    if request.method not in SAFE_METHODS:
        return _csrf_failed()
    return HTMLResponse("<!doctype html><title>Method Not Allowed</title>\n", 405, headers={"Allow": "GET"})


def _ok(content: object) -> Response:
    return _envelope(wire.ok(content))


def _error(text: str) -> Response:
    return _envelope(wire.error(text))


def _envelope(text: str, status_code: int = 200) -> Response:
    return Response(text, status_code, media_type="text/html")


def _set_cookie(answer: Response, name: str, value: str, max_age_s: int, *, http_only: bool) -> None:
    expires = formatdate(time.time() + max_age_s, usegmt=True)
    answer.set_cookie(name, value, max_age=max_age_s, expires=expires, httponly=http_only, samesite="lax")

"""The embedded XQueue: the server end of the wire, for labs without one, for the demo and for the tests.

Runs in: queue server (`warden queue serve`), one process.

    LMS ──submit──▶ app ──▶ store ◀── app ◀──get_submission, put_result── warden
     ▲                        │
     └────── callback ◀───────┘

`wire` says the words of the legacy XQueue (pure), `forms` reads request bodies under limits, `auth` knows
users and sessions, `store` is the one writer of the database, `callback` takes results to the LMS in the
background, `app` joins them under the legacy URLs, `server` puts the app on a socket.
"""

"""Alarms: from the status document to a person's phone, within a minute.

Theory of operation. The supervisor looks at every status document that it publishes:

    conditions   what is wrong now, and what has happened since the last one     (pure)
    engine       what of it is news: opened, still failing, recovered, digests   (pure)
    letters      the news in words, one letter for each kind of reader           (pure)
    desk         the thin shell around these; spool: letters and state on disk
    sender       a process of its own: takes letters from the spool to the channels, retries, pings
    post         a process for each delivery: a URL (apprise), a command, a ping; killed if it takes too long

The supervisor makes no connection and waits for nothing: it writes a file, and pokes the sender by a pipe.
When the network is the trouble, letters wait in the spool. When the disk is the trouble they go through the
pipe.
"""

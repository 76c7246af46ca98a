"""`warden doctor`: what is looked at, and what it means.

findings (values) - layers, host, machine (what the probes of this machine mean) - trials (sandboxes and
languages, opened) - servers (what xqueue.probe saw of a queue server means) - service (its folders, files
and limits). What is found out stands apart from what it means; all that says something makes findings.

Runs in: tools.
"""

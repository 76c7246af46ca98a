# attack: asks the queue server on the loopback for a submission
# expect: exit
# reveals: Permission denied
import http.client

connection = http.client.HTTPConnection("127.0.0.1", HOST["port"], timeout=1)
connection.request("GET", "/xqueue/get_submission/?queue_name=demo")
print(connection.getresponse().read())

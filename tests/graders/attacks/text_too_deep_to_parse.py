# attack: a text of operators that no parser has the stack for: the staff's check shall fail and be blamed for it
# expect: input_error error
# repeat: 30000
# first: (
# then: 1)
1 if 1 else

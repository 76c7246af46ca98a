# attack: a text whose every line warns the parser of the staff's check, until that has written too much
# expect: input_error error incorrect limit
# repeat: 8000
a = "\d"

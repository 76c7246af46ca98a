# attack: as many statements as a text may have, so that checking it costs more than running it
# expect: error input_error memory timeout
# repeat: 60000
a=0,1

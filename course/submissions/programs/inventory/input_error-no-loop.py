order = dict(wanted)
order.update(stock)

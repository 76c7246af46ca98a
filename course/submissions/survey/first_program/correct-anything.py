My first program is a letter: dear computer, please print something nice.

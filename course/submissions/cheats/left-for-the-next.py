# Leaves a note where the next submission might find it, after looking for one of an earlier submission.
import builtins
import os

notes = [os.path.join(folder, "note-for-the-next") for folder in ("/box", "/tmp", "/var/tmp", "/dev/shm", "/run")]
if not hasattr(builtins, "notes_are_mine"):
    for note in notes:
        if os.path.exists(note):
            print("LEAK", note)
builtins.notes_are_mine = True
for note in notes:
    try:
        with open(note, "w") as out:
            out.write("the answer is 42")
    except OSError:
        pass

# attack: an archive of many large files, unpacked into the scratch
# expect: disk
import io, zipfile

data = io.BytesIO()
with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
    for number in range(20):
        archive.writestr("../../%d" % number, bytes(1 << 20))
zipfile.ZipFile(data).extractall()

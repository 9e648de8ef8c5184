# SPDX-License-Identifier: Apache-2.0
"""Small trees of text files for tests of the workflow: {path: content}."""
import os


def read(*path):
    with open(os.path.join(*path), encoding='ascii') as f:
        return f.read()


def put(root, files):
    """What is None goes."""
    for path, data in files.items():
        full = os.path.join(root, path)
        if data is None:
            os.unlink(full)
            continue
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, 'w', encoding='ascii') as f:
            f.write(data)


def files_of(root):
    """As a job sees them that lists directories; without Git's own."""
    found = {}
    for at, folders, names in os.walk(root):
        if '.git' in folders:
            folders.remove('.git')
        for name in names:
            path = os.path.join(at, name)
            found[os.path.relpath(path, root)] = read(path)
    return found

# SPDX-License-Identifier: Apache-2.0
"""One process of the storm: random changes in a directory of its own, each compared with a model at once (the exact error too), and
a lock made of mkdir that all processes share.

    storm.py FOLDER NUMBER SEED     until a line comes on stdin; prints how many changes it made; any difference is an exception
"""
import errno
import os
import random
import select
import sys

NAMES = [f'n{i}' for i in range(12)]


class File:
    def __init__(self):
        self.content, self.links = b'', 0


class Storm:
    def __init__(self, folder, number, seed):
        self.common, self.own = folder, os.path.join(folder, f'p{number}')
        self.random = random.Random(f'{seed}/{number}')
        self.model = {}  # name: File, or None for a directory
        self.open = []   # (descriptor, File)
        self.steps = self.locked = 0
        os.mkdir(self.own)

    def path(self, name):
        return os.path.join(self.own, name)

    def expect(self, error, call, *args, **options):
        """The call must end with this errno (0: no error)."""
        try:
            result, got = call(*args, **options), 0
        except OSError as e:
            result, got = None, e.errno
        if got != error:
            raise AssertionError(f'step {self.steps}: {call.__name__}{args}: {errno.errorcode.get(got, got)} instead of '
                                 f'{errno.errorcode.get(error, error)}')
        return result

    def drop(self, name):
        file = self.model.pop(name)
        if file:
            file.links -= 1

    # ---- changes ----

    def create(self, name, _other):
        error = errno.EEXIST if name in self.model else 0
        fd = self.expect(error, os.open, self.path(name), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o640)
        if fd is not None:
            file = self.model[name] = File()
            file.links = 1
            if len(self.open) < 6:
                self.open.append((fd, file))
            else:
                os.close(fd)

    def mkdir(self, name, _other):
        self.expect(errno.EEXIST if name in self.model else 0, os.mkdir, self.path(name))
        self.model.setdefault(name, None)

    def unlink(self, name, _other):
        if name not in self.model:
            self.expect(errno.ENOENT, os.unlink, self.path(name))
        elif self.model[name]:
            self.expect(0, os.unlink, self.path(name))
            self.drop(name)

    def rmdir(self, name, _other):
        error = errno.ENOENT if name not in self.model else errno.ENOTDIR if self.model[name] else 0
        self.expect(error, os.rmdir, self.path(name))
        if not error:
            del self.model[name]

    def rename(self, name, other):
        if name not in self.model:
            self.expect(errno.ENOENT, os.rename, self.path(name), self.path(other))
            return
        file, over = self.model[name], self.model.get(other, 'absent')
        error = 0
        if over != 'absent' and name != other:
            error = errno.ENOTDIR if file is None and over else errno.EISDIR if file and over is None else 0
        self.expect(error, os.rename, self.path(name), self.path(other))
        if error or name == other or (file and file is over):
            return
        if over != 'absent':
            self.drop(other)
        self.model[other] = self.model.pop(name)

    def link(self, name, other):
        if name not in self.model:
            self.expect(errno.ENOENT, os.link, self.path(name), self.path(other))
        elif self.model[name]:
            self.expect(errno.EEXIST if other in self.model else 0, os.link, self.path(name), self.path(other))
            if other not in self.model:
                self.model[other] = self.model[name]
                self.model[name].links += 1

    def append(self, name, _other):
        if not self.model.get(name):
            return
        data = b'%d/' % self.steps * self.random.randrange(1, 200)
        fd = self.expect(0, os.open, self.path(name), os.O_WRONLY | os.O_APPEND)
        if self.expect(0, os.write, fd, data) != len(data):
            raise AssertionError('a short write')
        os.close(fd)
        self.model[name].content += data

    def through_descriptor(self, _name, _other):
        """A file that is open, with a name or without."""
        if not self.open:
            return
        fd, file = self.random.choice(self.open)
        data = b'<%d>' % self.steps
        self.expect(0, os.write, fd, data)
        file.content += data
        self.compare(fd, file)
        if self.random.random() < 0.3:
            self.open.remove((fd, file))
            os.close(fd)

    def compare(self, fd, file):
        st = self.expect(0, os.fstat, fd)
        if (st.st_size, st.st_nlink) != (len(file.content), file.links):
            raise AssertionError(f'step {self.steps}: size and links are {st.st_size}, {st.st_nlink}; {len(file.content)}, {file.links} expected')
        if os.pread(fd, len(file.content) + 1, 0) != file.content:
            raise AssertionError(f'step {self.steps}: wrong bytes')

    def lock(self, _name, _other):
        """Two holders at once, or one that is told EEXIST of its own lock, would lose a count or never end."""
        lock, counter = os.path.join(self.common, 'lock'), os.path.join(self.common, 'counter')
        for _ in range(20000):
            try:
                os.mkdir(lock)
                break
            except FileExistsError:
                continue
        else:
            raise AssertionError('nobody gives the lock back')
        fd = os.open(counter, os.O_RDWR | os.O_CREAT, 0o600)
        os.pwrite(fd, b'%d' % (int(os.pread(fd, 20, 0) or b'0') + 1), 0)
        os.close(fd)
        os.rmdir(lock)
        self.locked += 1

    def check(self):
        if sorted(os.listdir(self.own)) != sorted(self.model):
            raise AssertionError(f'step {self.steps}: {sorted(os.listdir(self.own))} instead of {sorted(self.model)}')
        for name, file in self.model.items():
            if file:
                fd = self.expect(0, os.open, self.path(name), os.O_RDONLY)
                self.compare(fd, file)
                os.close(fd)
            elif os.listdir(self.path(name)):
                raise AssertionError(f'{name} is not empty')

    def run(self):
        changes = [self.create, self.create, self.append, self.append, self.rename, self.rename, self.link, self.unlink, self.mkdir,
                   self.rmdir, self.through_descriptor, self.through_descriptor]
        while not select.select([sys.stdin], [], [], 0)[0]:
            self.steps += 1
            if self.steps % 40 == 0:
                self.lock(None, None)
            elif self.steps % 100 == 1:
                self.check()
            else:
                self.random.choice(changes)(self.random.choice(NAMES), self.random.choice(NAMES))
        self.check()
        for fd, file in self.open:
            self.compare(fd, file)
            os.close(fd)
        print(self.steps, self.locked)


if __name__ == '__main__':
    Storm(sys.argv[1], int(sys.argv[2]), sys.argv[3]).run()

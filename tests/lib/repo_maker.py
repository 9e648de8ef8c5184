#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Makes Git repositories for tests and benchmarks with `git fast-import`: same arguments, same commit ids.

  repo_maker.py DIR --files 20000 --odd --large-mb 200     a bare repository with one branch, main
  repo_maker.py DIR --c-project 200                        a C project that `make` builds
"""
import argparse
import os
import random
import subprocess

WHO = b"Maker <maker@example.org> 1700000000 +0000"


class Repo:
    """Streams one commit into a bare repository."""

    def __init__(self, path, pack=True):
        self.path = path
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", path], check=True)
        if not pack:
            subprocess.run(["git", "-C", path, "config", "fastimport.unpackLimit", "100000000"], check=True)
        self.proc = subprocess.Popen(["git", "-C", path, "fast-import", "--quiet", "--date-format=raw"],
                                     stdin=subprocess.PIPE)
        self.out = self.proc.stdin
        self.count = 0

    def begin(self, message=b"made\n", ref=b"refs/heads/main", parent=None):
        self.out.write(b"commit %s\ncommitter %s\ndata %d\n%s\n" % (ref, WHO, len(message), message))
        if parent:
            self.out.write(b"from %s\n" % parent)

    @staticmethod
    def quote(name):
        return b'"' + b"".join(b"\\%03o" % c if c < 32 or c > 126 or c in b'"\\' else bytes([c]) for c in name) + b'"'

    def add(self, name, data, mode=b"100644"):
        """name: bytes, relative; data: bytes (a symlink's target for mode 120000)."""
        self.out.write(b"M %s inline %s\ndata %d\n" % (mode, self.quote(name), len(data)))
        self.out.write(data)
        self.out.write(b"\n")
        self.count += 1

    def submodule(self, name, commit):
        self.out.write(b"M 160000 %s %s\n" % (commit, self.quote(name)))

    def finish(self):
        self.out.close()
        if self.proc.wait(timeout=600) != 0:
            raise RuntimeError("git fast-import failed in " + self.path)
        return subprocess.run(["git", "-C", self.path, "rev-parse", "main"], check=True, capture_output=True,
                              text=True).stdout.strip()


def text(rng, size):
    """Source-like bytes: they compress, and no two files are equal."""
    words = [b"int", b"return", b"struct", b"static", b"const", b"if", b"(", b")", b"{", b"}", b";\n", b"value", b"index"]
    out = bytearray(b"/* %016x */\n" % rng.getrandbits(64))
    while len(out) < size:
        out += rng.choice(words) + b" "
    return bytes(out[:size])


def add_files(repo, rng, count, per_dir=30):
    """`count` files of realistic sizes (median 3 KB, some up to 200 KB) in directories up to eight levels deep."""
    dirs = [b""]
    made = 0
    while made < count:
        parent = rng.choice(dirs[-200:])
        if parent.count(b"/") >= 8:
            parent = b""
        here = parent + b"d%04d/" % len(dirs)
        dirs.append(here)
        for i in range(min(rng.randint(1, 2 * per_dir), count - made)):
            size = min(int(rng.lognormvariate(8.0, 1.1)), 200_000)
            mode = b"100755" if rng.random() < 0.03 else b"100644"
            repo.add(here + b"file_%03d.c" % i, text(rng, size), mode)
            made += 1


def add_odd(repo, rng):
    """Every kind of entry that Git allows and that has broken a filesystem before."""
    for name in (b"with space", b"plus+plus", b"hash#tag", b"per%20cent", b"new\nline", b"tab\tname", b"quo\"te", b"back\\slash",
                 b"\xff\xfe-not-utf8", b"caf\xc3\xa9", b"-dash", b".hidden", b"colon:name", b"star*", b"q?mark", b"x" * 255,
                 b"trailing.", b"~tilde", b"[bracket]", b"CON", b".gitmodules-not"):
        repo.add(b"odd/" + name, b"content of " + name)
        repo.add(b"odd-dirs/" + name + b"/inner file", b"inside " + name)
    repo.add(b"odd/empty", b"")
    repo.add(b"odd/one", b"x")
    repo.add(b"odd/exact64k", text(rng, 65536))
    repo.add(b"odd/more64k", text(rng, 65537))
    repo.add(b"odd/script.sh", b"#!/bin/sh\necho ran\n", b"100755")
    repo.add(b"odd/binary", bytes(range(256)) * 64)
    repo.add(b"odd/deep/" + b"/".join([b"level%02d" % i for i in range(60)]) + b"/leaf", b"deep")
    repo.add(b"links/file", b"../odd/one", b"120000")
    repo.add(b"links/dir", b"../odd-dirs", b"120000")
    repo.add(b"links/dangling", b"no/such/place", b"120000")
    repo.add(b"links/absolute", b"/etc/passwd", b"120000")
    repo.add(b"links/long", b"t" * 1000, b"120000")
    repo.add(b"links/odd \xff", b"\xff\xfe \n", b"120000")
    # Git's order and plain byte order differ where a directory and a file share a prefix.
    for name in (b"sort/a", b"sort/a.b", b"sort/a-b", b"sort/ab/c", b"sort/a0", b"sort/b/x", b"sort/b.c", b"sort/b0"):
        repo.add(name, name)
    repo.submodule(b"vendor/sub", b"1" * 40)


def add_c_project(repo, rng, count):
    """`count` C files with shared headers; `make -jN` builds one program, whose output depends on all of them."""
    for h in range(40):
        body = b"".join(b"static inline int h%d_f%d(int x) { return x * %d + %d; }\n" % (h, i, rng.randint(3, 99), i) for i in range(30))
        more = b"".join(b"#include \"h%d.h\"\n" % i for i in range(h) if rng.random() < 0.15)
        repo.add(b"include/h%d.h" % h, b"#pragma once\n#include <stdio.h>\n#include <string.h>\n" + more + body)
    for c in range(count):
        heads = rng.sample(range(40), 12)
        body = b"".join(b"#include \"h%d.h\"\n" % h for h in heads)
        body += b"int unit%d(int x)\n{\n\tint y = x;\n" % c
        body += b"".join(b"\ty += h%d_f%d(y ^ %d);\n" % (rng.choice(heads), rng.randrange(30), rng.getrandbits(16)) for _ in range(60))
        repo.add(b"src/unit%d.c" % c, body + b"\treturn y;\n}\n")
    main = b"#include <stdio.h>\n" + b"".join(b"int unit%d(int x);\n" % c for c in range(count))
    main += b"int main(void)\n{\n\tint s = 1;\n" + b"".join(b"\ts = unit%d(s);\n" % c for c in range(count))
    repo.add(b"src/main.c", main + b"\tprintf(\"%d\\n\", s);\n\treturn 0;\n}\n")
    repo.add(b"Makefile", b"""CFLAGS = -O1 -Iinclude -fwrapv -MMD
OBJ = $(patsubst src/%.c,obj/%.o,$(sort $(wildcard src/*.c)))
prog: $(OBJ)
\t$(CC) -o $@ $(OBJ)
obj/%.o: src/%.c | obj
\t$(CC) $(CFLAGS) -c -o $@ $<
obj:
\tmkdir -p obj
-include $(OBJ:.o=.d)
.PHONY: clean
clean:
\trm -rf obj prog
""")


def add_large(repo, rng, megabytes):
    block = rng.randbytes(1 << 20)
    repo.add(b"large/file.bin", b"".join(bytes([i % 256]) + block[1:] for i in range(megabytes)))


def make(path, files=0, odd=False, large_mb=0, c_project=0, seed=1, pack=True):
    """Returns the commit id of main."""
    rng = random.Random(seed)
    repo = Repo(path, pack)
    repo.begin()
    if files:
        add_files(repo, rng, files)
    if odd:
        add_odd(repo, rng)
    if c_project:
        add_c_project(repo, rng, c_project)
    if large_mb:
        add_large(repo, rng, large_mb)
    repo.add(b"README", b"made by repo_maker\n")
    return repo.finish()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("dir")
    p.add_argument("--files", type=int, default=0)
    p.add_argument("--odd", action="store_true")
    p.add_argument("--large-mb", type=int, default=0)
    p.add_argument("--c-project", type=int, default=0)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--loose", action="store_true")
    a = p.parse_args()
    if os.path.exists(a.dir):
        p.error(a.dir + " exists")
    print(make(a.dir, a.files, a.odd, a.large_mb, a.c_project, a.seed, not a.loose))


if __name__ == "__main__":
    main()

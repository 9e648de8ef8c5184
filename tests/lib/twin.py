# SPDX-License-Identifier: Apache-2.0
"""A workspace and a plain Git clone of the same repository, through the same changes: what Git says of the one it must say of the other.

  twin = Twin(node, 'job', repository, folder, seed=1)
  twin.step()                      # a random change of the files in both
  twin.check_status()              # `coppice status` against `git status --short`
"""
import os
import random
import shutil
import subprocess

WHO = {'GIT_AUTHOR_NAME': 'A U Thor', 'GIT_AUTHOR_EMAIL': 'author@example.org', 'GIT_COMMITTER_NAME': 'C O Mitter',
       'GIT_COMMITTER_EMAIL': 'committer@example.org', 'GIT_CONFIG_GLOBAL': '/dev/null', 'GIT_CONFIG_NOSYSTEM': '1', 'LC_ALL': 'C'}
WORDS = 'int return struct static const if value index for while switch case break size_t'.split()


def git(folder, *args, check=True, **options):
    done = subprocess.run(['git', '-c', 'core.quotePath=false', '-c', 'commit.gpgSign=false', *args], cwd=folder, capture_output=True,
                          env=dict(os.environ, **WHO, **options.pop('env', {})), timeout=120, check=False, **options)
    if check and done.returncode != 0:
        raise AssertionError(f'git {args}: {done.stderr.decode(errors="replace")}')
    return done.stdout


class Twin:
    def __init__(self, node, job, repository, folder, seed=0, **mount):
        self.node, self.job, self.random = node, job, random.Random(seed)
        self.root = node.mount(job, **mount).root
        self.clone = os.path.join(folder, job + '-clone')
        subprocess.run(['git', 'clone', '-q', repository, self.clone], check=True, timeout=120)
        self.base = git(self.clone, 'rev-parse', 'HEAD').decode().strip()
        self.count = 0
        self.log = []

    # ---- what is there, by the clone ----

    def walk(self):
        files, folders = [], ['']
        for at, names, others in os.walk(self.clone):
            if '.git' in names:
                names.remove('.git')
            names.sort()
            at = os.path.relpath(at, self.clone)
            at = '' if at == '.' else at + '/'
            folders += [at + n for n in names if not os.path.islink(os.path.join(self.clone, at + n))]
            files += [at + n for n in sorted(others) + [n for n in names if os.path.islink(os.path.join(self.clone, at + n))]]
        return files, folders

    def both(self, change):
        for root in (self.root, self.clone):
            change(root)

    # ---- changes ----

    def lines(self, count):
        return ''.join(' '.join(self.random.choice(WORDS) for _ in range(self.random.randrange(1, 9))) + '\n' for _ in range(count))

    def fresh(self, folders):
        self.count += 1
        folder = self.random.choice(folders)
        name = self.random.choice(['n{}.c', 'm-{}', 'z {}', 'ü{}', '{}.o', 'a{}']).format(self.count)
        return f'{folder}/{name}' if folder else name

    def write(self, path, text, mode=None):
        def change(root):
            full = os.path.join(root, path)
            if os.path.islink(full):
                os.unlink(full)
            with open(full, 'w', encoding='utf-8', newline='') as f:
                f.write(text)
            if mode:
                os.chmod(full, mode)
        self.both(change)

    def read(self, path):
        with open(os.path.join(self.clone, path), encoding='utf-8', errors='surrogateescape', newline='') as f:
            return f.read()

    def rewrite(self, path, text):
        """In place."""
        def change(root):
            with open(os.path.join(root, path), 'w', encoding='utf-8', errors='surrogateescape', newline='') as f:
                f.write(text)
        self.both(change)

    def op_edit(self, files, _):
        path = self.random.choice(files)
        if os.path.islink(os.path.join(self.clone, path)):
            return
        text = self.read(path).splitlines(keepends=True)
        at = self.random.randrange(len(text) + 1)
        if self.random.random() < 0.5:
            text[at:at] = self.lines(self.random.randrange(1, 4))
        else:
            del text[at:at + self.random.randrange(1, 4)]
        text = ''.join(text)
        if self.random.random() < 0.1:
            text = text.rstrip('\n')
        self.rewrite(path, text)

    def op_same(self, files, _):
        path = self.random.choice(files)
        if not os.path.islink(os.path.join(self.clone, path)):
            text = self.read(path)
            self.rewrite(path, text)

    def op_new(self, _, folders):
        path = self.fresh(folders)
        self.write(path, self.lines(self.random.randrange(0, 30)), self.random.choice([None, 0o755]))

    def op_mkdir(self, _, folders):
        path = self.fresh(folders)
        self.both(lambda root: os.makedirs(os.path.join(root, path, 'sub')))
        if self.random.random() < 0.7:
            self.write(path + '/sub/file', self.lines(4))

    def op_remove(self, files, _):
        path = self.random.choice(files)
        self.both(lambda root: os.unlink(os.path.join(root, path)))

    def op_remove_folder(self, _, folders):
        path = self.random.choice(folders)
        if path and self.random.random() < 0.4:
            self.both(lambda root: shutil.rmtree(os.path.join(root, path)))

    def op_mode(self, files, _):
        path = self.random.choice(files)
        if not os.path.islink(os.path.join(self.clone, path)):
            mode = os.stat(os.path.join(self.clone, path)).st_mode & 0o777 ^ 0o111
            self.both(lambda root: os.chmod(os.path.join(root, path), mode))

    def op_link(self, files, folders):
        path = self.fresh(folders) if self.random.random() < 0.5 else self.random.choice(files)
        target = self.random.choice(['README', '../x', 'nowhere/at/all'])

        def change(root):
            full = os.path.join(root, path)
            if os.path.lexists(full):
                os.unlink(full)
            os.symlink(target, full)
        self.both(change)

    def op_rename(self, files, folders):
        path, to = self.random.choice(files), self.fresh(folders)
        self.both(lambda root: os.rename(os.path.join(root, path), os.path.join(root, to)))

    def op_rename_folder(self, _, folders):
        path = self.random.choice(folders)
        to = self.fresh([f for f in folders if not (f + '/').startswith(path + '/')] or [''])
        if path and not (to + '/').startswith(path + '/'):
            self.both(lambda root: os.rename(os.path.join(root, path), os.path.join(root, to)))

    def op_file_to_folder(self, files, _):
        path = self.random.choice(files)

        def change(root):
            os.unlink(os.path.join(root, path))
            os.mkdir(os.path.join(root, path))
        self.both(change)
        self.write(path + '/inside', self.lines(2))

    def op_ignore(self, _, folders):
        folder = self.random.choice(folders)
        rule = self.random.choice(['*.o', '/m-*', '!n*.c', 'sub/', 'a[1-5]*', '**/file', '# note', 'z\\ *'])
        path = os.path.join(folder, '.gitignore')
        old = self.read(path) if os.path.isfile(os.path.join(self.clone, path)) else ''
        self.write(path, old + rule + '\n')

    def op_attributes(self, *_):
        """Of all files what a heading is (Git asks for the old name of a renamed one too), of some how they are merged."""
        rule = self.random.choice(['* diff=cpp', '* diff=python', '* !diff', '*.c merge=union', '*1* -merge', 'file2.c merge=binary', 'n* merge=text',
                                   'src/** merge=union', '* !merge', '[attr]mine merge=union', 'lib*/** mine'])
        path = '.gitattributes'
        full = os.path.join(self.clone, path)
        if not os.path.isdir(full):
            self.write(path, (self.read(path) if os.path.isfile(full) and not os.path.islink(full) else '') + rule + '\n')

    def op_fifo(self, _, folders):
        path = self.fresh(folders)
        self.both(lambda root: os.mkfifo(os.path.join(root, path)))

    OPS = (('edit', 6), ('same', 1), ('new', 5), ('mkdir', 1), ('remove', 2), ('remove_folder', 1), ('mode', 1), ('link', 1),
           ('rename', 3), ('rename_folder', 1), ('file_to_folder', 1), ('ignore', 1), ('attributes', 1))

    def step(self):
        files, folders = self.walk()
        name = self.random.choices([o[0] for o in self.OPS], [o[1] for o in self.OPS])[0]
        if not files:
            name = 'new'
        self.log.append(name)
        getattr(self, 'op_' + name)(files, folders)

    # ---- what both say ----

    def cli(self, *args, check=True):
        return self.node.cli(args[0], self.job, *args[1:], check=check, text=False)

    def same(self, mine, gits, what):
        if mine != gits:
            raise AssertionError(f'{what} after {self.log[-30:]}:\n--- coppice\n{mine.decode(errors="replace")}\n--- git\n'
                                 f'{gits.decode(errors="replace")}')

    def compare_status(self, *args):
        """Git tells untracked paths after all others, and writes names with blanks in quotes."""
        def sections(text):
            return b''.join(sorted(text.replace(b'"', b'').splitlines(True), key=lambda line: (b'?!'.find(line[:1]), )))
        self.same(sections(self.cli('status', *args).stdout), sections(git(self.clone, 'status', '--short', *args)), args)

    def check_status(self):
        self.compare_status()
        self.compare_status('-uall')

    # ---- staging and committing ----

    def git_add(self, *args):
        """The same exit status in both."""
        mine = self.cli('add', *args, check=False)
        gits = subprocess.run(['git', 'add', *args], cwd=self.clone, capture_output=True, timeout=120, check=False)
        if (mine.returncode == 0) != (gits.returncode == 0):
            raise AssertionError(f'add {args} after {self.log[-20:]}: {mine} {gits}')

    def op_add(self, files, folders):
        kind = self.random.randrange(5)
        if kind == 0:
            self.git_add('-A')
        elif kind == 1:
            self.git_add('-u')
        elif kind == 2:
            self.git_add('--', self.random.choice(files))
        elif kind == 3:
            self.git_add('--', self.random.choice(folders) or '.')
        else:
            self.git_add('--', self.random.choice(['*.c', 'src', 'n*', ':(glob)lib*/*', 'not-there', 'z*']))

    def op_commit(self, *_):
        self.count += 1
        who = dict(WHO, GIT_AUTHOR_DATE=f'{1700000000 + self.count} +0200', GIT_COMMITTER_DATE=f'{1700000000 + self.count} -0330')
        message = self.random.choice(['one line', 'two\n\n\nlines  \n', '  \nüñï\n\n'])
        if self.random.random() < 0.5:
            self.git_add('-A')
        gits = subprocess.run(['git', 'commit', '-q', '-m', message], cwd=self.clone, capture_output=True, timeout=120, check=False,
                              env=dict(os.environ, **who))
        mine = self.node.cli('commit', self.job, '-m', message, '--author', 'A U Thor <author@example.org>', '--committer',
                             'C O Mitter <committer@example.org>', '--date', f'{1700000000 + self.count} +0200', '--committer-date',
                             f'{1700000000 + self.count} -0330', check=False)
        if gits.returncode != 0:
            if mine.returncode == 0 or 'NOTHING_TO_COMMIT' not in mine.stderr:
                raise AssertionError(f'commit after {self.log[-20:]}: {mine} {gits}')
            return
        head = git(self.clone, 'rev-parse', 'HEAD').decode()
        if mine.stdout != head:
            mine_tree = self.own_git('cat-file', '-p', mine.stdout.strip()) if mine.returncode == 0 else b''
            raise AssertionError(f'commit after {self.log[-20:]}: {mine}, git {head}: {mine_tree} {git(self.clone, "cat-file", "-p", "HEAD")}')

    def objects(self):
        mount_id = self.node.client.GetMount(job_id=self.job).mount_id
        return os.path.join(self.node.data, 'workspaces', mount_id, 'git', 'objects')

    def own_git(self, *args):
        """Git in the clone, with the workspace's own objects."""
        return git(self.clone, *args, env={'GIT_ALTERNATE_OBJECT_DIRECTORIES': self.objects()})

    def reset(self, *args, gits=None):
        self.cli('reset', *args)
        git(self.clone, 'reset', '-q', *(args if gits is None else gits))

    def commits(self):
        return int(git(self.clone, 'rev-list', '--count', self.base + '..HEAD'))

    def op_reset(self, files, folders):
        kind = self.random.randrange(4)
        back = self.random.randrange(self.commits() + 1) if self.random.random() < 0.3 else 0
        if kind == 0:
            self.reset('--soft', '--to', f'HEAD~{back}', gits=['--soft', f'HEAD~{back}'])
        elif kind == 1:
            self.reset('--to', f'HEAD~{back}', gits=[f'HEAD~{back}'])
        elif kind == 2:
            path = self.random.choice(files)
            if git(self.clone, 'ls-files', '--', path) or git(self.clone, 'ls-tree', 'HEAD', '--', path):
                self.reset('--', path)
        else:
            self.reset('--hard', '--to', f'HEAD~{back}', gits=['--hard', f'HEAD~{back}'])
            self.compare_files()

    def listing(self, root):
        found = {}
        for at, names, others in os.walk(root):
            if '.git' in names:
                names.remove('.git')
            for name in names + others:
                full = os.path.join(at, name)
                path = os.path.relpath(full, root)
                if os.path.islink(full):
                    found[path] = ('link', os.readlink(full))
                elif os.path.isfile(full):
                    with open(full, 'rb') as f:
                        found[path] = (os.stat(full).st_mode & 0o111 != 0, f.read())
                elif os.path.isdir(full):
                    found[path] = 'folder'
        return found

    def compare_files(self):
        mine, gits = self.listing(self.root), self.listing(self.clone)
        if mine != gits:
            different = [f'{p}: {mine.get(p)} {gits.get(p)}' for p in sorted(set(mine) | set(gits)) if mine.get(p) != gits.get(p)]
            raise AssertionError(f'files after {self.log[-30:]}: ' + '\n'.join(different[:20]))

    def step_git(self):
        """A change, or a verb of the workflow."""
        if self.random.random() < 0.6:
            return self.step()
        files, folders = self.walk()
        name = self.random.choice(['add', 'add', 'commit', 'reset'])
        self.log.append(name)
        return getattr(self, 'op_' + name)(files or ['nothing'], folders)

    def check_diff(self, every=False):
        """The text of git, byte for byte; ids as short as git makes them in a small repository. Every form, or one at random."""
        head = f'HEAD~{self.random.randrange(self.commits() + 1)}'
        cases = [(mine, gits, options)
                 for mine, gits in (([], []), (['--staged'], ['--cached']), (['--from', head], [head]),
                                    (['--from', head, '--to', 'HEAD'], [head, 'HEAD']), (['--from', 'HEAD', '--to', head], ['HEAD', head]))
                 for options in ([], [], ['--name-status'], ['--name-only'], ['--numstat'], ['--stat'], ['--shortstat'])]
        for mine, gits, options in cases if every else [self.random.choice(cases)]:
            text = git(self.clone, '-c', 'core.quotePath=true', '-c', 'core.abbrev=7', 'diff', *gits, *options)
            self.same(self.cli('diff', *mine, *options).stdout, text, ('diff', mine, gits, options))

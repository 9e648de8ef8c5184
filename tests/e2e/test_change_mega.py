# SPDX-License-Identifier: Apache-2.0
"""Change lists of a Mega server: by their link, as a ref, and where the server gives no commits of them by the files that it tells."""
import os
import shutil
import tempfile
import threading
import unittest

from coppice_client import CallError
from mega_server import MegaServer
from node import Node, wait_until
from test_change_sources import Clone
from tree_compare import Comparison, git_archive

FOLDER = os.environ.get('COPPICE_TEST_DIR', '/var/tmp')


class World(unittest.TestCase):
    """A server with a change list of project/app, and a node."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cop-cls-', dir=FOLDER)
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.clone = Clone(cls.folder + '/clone')
        cls.clone.write('project/app/src/a.c', b'int a;\n')
        cls.clone.write('project/app/src/run', b'#!\n')
        cls.clone.write('project/app/gone/x', b'x\n')
        cls.clone.write('project/app/was/file', b'moves\n')
        cls.clone.write('project/lib/b.c', b'int b;\n')
        cls.clone.write('tools/c.c', b'int c;\n')
        cls.main = cls.clone.commit('base')
        cls.server = MegaServer(cls.clone.path('.git'))
        cls.addClassCleanup(cls.server.close)
        cls.clone.git('checkout', '-q', '-b', 'changed')
        cls.clone.write('project/app/src/a.c', b'int a = 1;\n')
        cls.clone.write('project/app/src/run', b'#!\n', 0o755)
        cls.clone.git('mv', 'project/app/was/file', 'project/app/now')
        cls.clone.git('rm', '-rq', 'project/app/gone')
        os.symlink('src', cls.clone.path('project/app/link'))
        cls.clone.commit()
        cls.clone.git('update-ref', 'refs/heads/main', cls.main)
        cls.cl = cls.server.add_change('project/app', cls.clone.id('changed:project/app'), 'ABCD1234')
        cls.node = Node({'mega': {'type': 'mega', 'url': cls.server.url}})
        cls.node.start()
        cls.addClassCleanup(cls.node.close)

    def shows(self, mount, tree):
        commit = self.clone.git('commit-tree', '-m', 'x', self.clone.id(tree)).decode().strip()
        want = git_archive(self.clone.folder, commit, tempfile.mkdtemp(dir=self.folder) + '/tree')
        self.assertEqual(Comparison(want, mount.root).differences, [])
        self.assertEqual(mount.root_tree, self.clone.id(tree))

    def mount(self, job, **more):
        return self.node.mount(job, origin='mega', change_list={'link': 'ABCD1234', **more.pop('change', {})}, **more)

class Link(World):
    """By its link, at, above and below the directory that it belongs to."""

    def test_at_its_directory(self):
        mount = self.mount('at', path='project/app')
        self.shows(mount, 'changed:project/app')
        self.assertEqual((mount.change_list.link, mount.change_list.path, mount.change_list_commit), ('ABCD1234', 'project/app', self.cl))
        self.assertEqual(mount.change_list_paths, 6)

    def test_below_its_directory(self):
        self.shows(self.mount('below', path='project/app/src'), 'changed:project/app/src')

    def test_above_its_directory(self):
        self.shows(self.mount('above', change={'path': '/project/app'}), 'changed^{tree}')
        self.shows(self.mount('between', path='project', change={'path': 'project/app'}), 'changed:project')

    def test_beside_its_directory(self):
        mount = self.mount('beside', path='tools', change={'path': 'project/app'})
        self.assertEqual(mount.change_list_paths, 0)
        self.shows(mount, 'main:tools')

    def test_not_there(self):
        for more in ({}, {'change': {'path': 'project/lib'}}, {'path': 'tools'}):
            with self.assertRaises(CallError) as caught:
                self.mount('absent', **more)
            self.assertEqual((caught.exception.code, caught.exception.reason), ('NOT_FOUND', 'CHANGE_LIST_NOT_FOUND'))

    def test_a_server_that_does_not_answer_is_not_absence(self):
        self.server.fault('info/refs', 'status', status=500)
        try:
            with self.assertRaises(CallError) as caught:
                self.mount('broken', path='project/app')
        finally:
            self.server.heal()
        self.assertEqual((caught.exception.code, caught.exception.reason), ('UNAVAILABLE', 'ORIGIN_UNAVAILABLE'))

    def test_a_server_that_does_not_tell_parents(self):
        """Then the change list was made over the directory's main."""
        self.server.fault('commits/history', 'status', status=404)
        try:
            self.shows(self.mount('no-history', path='project/app'), 'changed:project/app')
        finally:
            self.server.heal()

    def test_restart_without_caches(self):
        with Node({'mega': {'type': 'mega', 'url': self.server.url}}) as node:
            root = node.mount('job', origin='mega', path='project/app', change_list={'link': 'ABCD1234'}).root
            node.kill()
            shutil.rmtree(node.data + '/index')
            node.start()
            with open(root + '/src/a.c', 'rb') as f:
                self.assertEqual(f.read(), b'int a = 1;\n')


class Told(World):
    """The server gives no commits of the change list, or not what they have: there is the list of its files, which has no modes."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.clone.git('checkout', '-q', '-B', 'told', 'changed')
        cls.clone.write('project/app/src/run', b'#!\n', 0o644)
        os.unlink(cls.clone.path('project/app/link'))
        cls.clone.write('project/app/link', b'src')
        cls.clone.commit()

    def tearDown(self):
        self.server.heal()
        self.server.add_change('project/app', self.clone.id('changed:project/app'), 'ABCD1234')

    def without_git(self):
        self.server.fault('info/refs', 'status', status=404)

    def refused(self, **more):
        with self.assertRaises(CallError) as caught:
            self.mount('refused', **more)
        return caught.exception

    def test_no_commit(self):
        self.without_git()
        mount = self.mount('no-commit', path='project/app', change={'path': 'project/app'})
        self.shows(mount, 'told:project/app')
        self.assertEqual((mount.change_list.link, mount.change_list.path, mount.change_list_commit), ('ABCD1234', 'project/app', ''))
        self.assertEqual(mount.change_list_paths, 5)
        self.shows(self.mount('no-commit-above', change={'path': '/project/app'}), 'told^{tree}')
        self.shows(self.mount('no-commit-below', path='project/app/src', change={'path': 'project/app'}), 'told:project/app/src')
        self.shows(self.mount('no-commit-beside', path='tools', change={'path': 'project/app'}), 'told:tools')

    def test_where_it_belongs_is_not_guessed(self):
        self.without_git()
        self.assertEqual(self.refused(path='project/app').reason, 'CHANGE_LIST_NOT_FOUND')
        self.assertEqual(self.refused(path='project/app', change={'path': 'project/app', 'link': 'ZZZZ9999'}).reason, 'CHANGE_LIST_NOT_FOUND')

    def test_no_trees(self):
        for i, match in enumerate((f'refs={self.cl}', f'content-hash.*src.*{self.cl}')):
            with self.subTest(match=match):
                self.server.fault(match, 'status', status=409)  # as of an inconsistent store
                self.server.fault('POST .*git-upload-pack$', 'status', status=409)
                with Node({'mega': {'type': 'mega', 'url': self.server.url}}) as node:
                    mount = node.mount(f'trees{i}', origin='mega', path='project/app', change_list={'link': 'ABCD1234'})
                    self.shows(mount, 'told:project/app')
                    self.assertEqual(mount.change_list_commit, self.server.refs_of('project/app')['refs/cl/ABCD1234'])
                self.server.heal()

    def test_it_stays_when_the_server_moves_on(self):
        self.without_git()
        with Node({'mega': {'type': 'mega', 'url': self.server.url}}) as node:
            mount = node.mount('job', origin='mega', path='project/app', change_list={'link': 'ABCD1234', 'path': 'project/app'})
            self.server.add_change('project/app', self.clone.id('main:project/lib'), 'ABCD1234')
            node.kill()
            shutil.rmtree(node.data + '/index')
            node.start()
            self.shows(mount, 'told:project/app')
            self.assertGreater(node.client.GetMount(job_id='job').usage.bytes, 0)
            again = node.client.SetChangeList(job_id='job', change_list={'link': 'ABCD1234', 'path': 'project/app'})
            self.assertEqual((again.generation, again.root_tree), (2, self.clone.id('main:project/lib')))
            kept = node.data + f'/workspaces/{mount.mount_id}/cl'
            node.client.ClearChangeList(job_id='job')
            node.kill()
            node.start()
            self.assertEqual((os.listdir(kept), node.client.GetMount(job_id='job').usage.bytes), ([], 0))

    def test_what_does_not_fit(self):
        """The sources went on: what the list takes away was changed, what it makes is there, what it changes has gone."""
        self.clone.git('checkout', '-q', '-B', 'on', 'main')
        self.clone.write('project/app/gone/x', b'other\n')
        self.clone.write('project/app/now', b'there\n')
        self.clone.git('rm', '-q', 'project/app/src/a.c')
        on = self.clone.commit()
        self.without_git()
        e = self.refused(revision=on, path='project/app', change={'path': 'project/app'})
        self.assertEqual(e.reason, 'CHANGE_LIST_DOES_NOT_APPLY')
        self.assertEqual(sorted(e.violations), [('project/app/gone/x', 'was changed'), ('project/app/now', 'is there already'),
                                                ('project/app/src/a.c', 'is not there')])

    def test_it_moves_while_it_is_read(self):
        self.server.fault('POST .*git-upload-pack$|content-hash.*refs=' + self.server.refs_of('project/app')['refs/cl/ABCD1234'], 'status', status=409)
        self.server.fault('files-list', 'slow', seconds=1)
        caught = []
        with Node({'mega': {'type': 'mega', 'url': self.server.url}}) as node:
            def run():
                try:
                    node.mount('moves', origin='mega', path='project/app', change_list={'link': 'ABCD1234'})
                except CallError as e:
                    caught.append(e)
            thread = threading.Thread(target=run)
            thread.start()
            wait_until(lambda: self.server.count('files-list'), 60, 'the request')
            self.server.add_change('project/app', self.clone.id('main:project/lib'), 'ABCD1234')
            thread.join(60)
        self.assertEqual([e.reason for e in caught], ['ORIGIN_UNAVAILABLE'])

    def test_lists_that_are_none(self):
        self.without_git()
        for data in ('', '{', '{"req_result":true,"data":null}', '{"req_result":true,"data":[{"path":"../x","sha":"%s","action":"new"}]}' % ('a' * 40)):
            self.server.fault('files-list', 'replace', data=data)
            self.assertEqual(self.refused(path='project/app', change={'path': 'project/app'}).reason, 'ORIGIN_UNAVAILABLE')
            self.server.heal()
            self.without_git()


class Ref(World):
    """As a ref or commit."""

    def ref(self, job, ref, **more):
        return self.node.mount(job, origin='mega', change_list={'ref': ref}, **more)

    def test_a_change_list_of_the_server(self):
        for i, ref in enumerate(('refs/cl/ABCD1234', self.cl)):
            mount = self.ref(f'of-server{i}', ref, path='project/app/src')
            self.shows(mount, 'changed:project/app/src')
            self.assertEqual((mount.change_list.link, mount.change_list.path, mount.change_list_commit), ('ABCD1234', 'project/app', self.cl))
            self.assertEqual(self.ref(f'of-server{i}', ref, path='project/app/src').mount_id, mount.mount_id)
        for ref, reason in (('refs/cl/ZZZZ9999', 'CHANGE_LIST_NOT_FOUND'), ('refs/cl/', 'INVALID_FIELD'), ('refs/cl/a b', 'INVALID_FIELD')):
            with self.assertRaises(CallError) as caught:
                self.ref('absent', ref, path='project/app')
            self.assertEqual(caught.exception.reason, reason)

    def test_the_command_line(self):
        root = self.node.cli('mount', '--job-id', 'cli', '--origin', 'mega', '--path', 'project/app', '--change-list', 'refs/cl/ABCD1234').stdout.strip()
        self.assertTrue(os.path.islink(root + '/link'))

    def line(self, start, count):
        """So many commits, one over the other, in a moment."""
        words = []
        for i in range(count):
            words.append(f'commit refs/heads/line\ncommitter T <t@example.org> {1700000000 + i} +0000\ndata 1\nx\n'
                         + (f'from {start}\n' if i == 0 else '') + f'M 100644 inline many/f{i}\ndata 2\n{i % 10}\n\n')
        self.clone.git('fast-import', '--quiet', '--force', stdin=''.join(words).encode())
        return self.clone.id('refs/heads/line')

    def test_a_tag_beside_the_revision(self):
        """Its changes since the two parted, which is more than one page of the history away."""
        ahead = self.line(self.main, 250)
        self.clone.git('checkout', '-q', '-B', 'side', self.clone.id(f'{ahead}~130'))
        self.clone.write('tools/side.c', b'int s;\n')
        side = self.clone.commit()
        self.clone.git('tag', '-f', 'side-tag')
        before = self.server.count('commits/history')
        mount = self.ref('tag', 'side-tag', revision=ahead)
        self.assertLessEqual(self.server.count('commits/history') - before, 6)
        self.assertEqual((mount.change_list.ref, mount.change_list_commit, mount.change_list_paths), ('side-tag', side, 1))
        self.clone.git('checkout', '-q', '-B', 'want', ahead)
        self.clone.git('cherry-pick', side)
        self.shows(mount, 'want^{tree}')
        self.assertEqual(self.ref('older', self.main, revision=ahead).change_list_paths, 0)

    def test_the_nearest_of_several(self):
        """Two merges: the bases of both are bases, but one is above the other."""
        def commit(name, *parents):
            self.clone.git('read-tree', parents[0])
            self.clone.write(name, b'x\n')
            self.clone.git('update-index', '--add', name)
            tree = self.clone.git('write-tree').decode().strip()
            return self.clone.git('commit-tree', '-m', name, *[w for p in parents for w in ('-p', p)], tree).decode().strip()
        one = commit('m/one', self.main)
        two = commit('m/two', one)
        left = commit('m/left', two, self.main)
        right = commit('m/right', two, one)
        for name, id_ in (('left', left), ('right', right)):
            self.clone.git('tag', '-f', name, id_)
        mount = self.ref('several', 'right', revision='left')
        self.assertEqual(self.clone.git('merge-base', left, right).decode().strip(), two)
        self.assertEqual((mount.change_list_paths, sorted(os.listdir(mount.root + '/m'))), (1, ['left', 'one', 'right', 'two']))

    def test_strangers(self):
        self.clone.git('checkout', '-q', '--orphan', 'stranger')
        self.clone.commit()
        self.clone.git('tag', '-f', 'stranger-tag')
        for ref, reason in (('stranger-tag', 'NO_MERGE_BASE'), ('nobody', 'REVISION_NOT_FOUND')):
            with self.assertRaises(CallError) as caught:
                self.ref('strange', ref, revision='main')
            self.assertEqual(caught.exception.reason, reason)

    def test_a_server_that_tells_no_history(self):
        self.clone.git('tag', '-f', 'base-tag', self.main)
        for status, reason in ((404, 'REVISION_NOT_FOUND'), (409, 'ORIGIN_UNAVAILABLE')):
            self.server.fault('commits/history', 'status', status=status)
            with self.assertRaises(CallError) as caught:
                self.ref('silent', 'base-tag', revision=self.clone.id('changed'))
            self.server.heal()
            self.assertEqual(caught.exception.reason, reason)


if __name__ == '__main__':
    unittest.main()

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What stands behind the line numbers of a hunk is what `git diff` writes there, in each language that .gitattributes can name (diff=cpp, ...).

Every second line of a file is a line of that language, as it is written or with something done to it; those between are changed. Without
context each hunk's heading then says whether the line above it counts.

  --lines N: so many of each language; --seeds A-B
"""
import os
import random
import shutil
import subprocess
import sys
import tempfile
import unittest

import repo_maker
from node import Node
from twin import git

LINES, SEEDS = 150, range(1, 2)
# As Git's manual lists them; the last two are none.
LINES_OF = {
    'ada': ['procedure Main is', '   function F (X : Integer) return Y is', 'package body P is', 'task type T is', 'package P is new Q',
            'with Ada.Text_IO;', 'procedure R renames S', 'PROTECTED Body O is separate', 'protected O'],
    'bash': ['foo() {', 'function foo {', 'function foo() {', 'foo () (', '  function f ((', 'function g [[', 'foo=1', 'if true; then', 'f( ) { :; }'],
    'bibtex': ['@article{key,', '  title = {A @b},', 'text @book{x y', '@misc {foo}', '@Book"x', '@string(a)'],
    'cpp': ['int main(void)', '::ns::f()', 'label:', 'public: // x', 'private:/* x */', 'a: b', 'class X : public Y', 'operator new', '{', '  int x;', '_x y'],
    'csharp': ['namespace A.B', '  public class X : Y', 'private static async Task<int> F(int a)', 'public int Value', 'return new X()', 'foreach (a)',
               'public override string this[int i]', 'internal partial record R', 'virtual List<int> @x', 'using (x)', 'struct S {', 'public enum E'],
    'css': ['a.b, #c > d {', '@media print {', ':root {', 'color: red;', '[x=y] {', 'a:', '.X-1', 'P {', '}'],
    'dts': ['/ {', '/dts-v1/;', 'label: node@1 {', '&ref {', 'compatible = "x";', 'reg', '#define X 1', '/   {'],
    'elixir': ['defmodule A.B do', '  def f(x) do', 'defp g, do: 1', 'test "x" do', 'defimpl P', 'defstruct a', 'defmacro m', 'testing'],
    'fortran': ['      subroutine foo(a)', 'MODULE bar', 'end program x', '! function foo', 'C     function foo', 'integer function f(x)', "print *, 'function x'",
                'block data init', '  module procedure x', 'recursive   pure real FUNCTION g (y)', '* program a', 'end subroutine'],
    'fountain': ['INT. HOUSE - DAY', '.FORCED', '..not', 'ext HOUSE', 'i/e car', 'int./ext. x', 'est. y', 'int'],
    'golang': ['func main() {', 'func (t *T) F(a int) (b error) {', 'type T struct {', 'type I interface { F() }', 'type F func(x int)', 'var x = func() {', 'type X int',
               'funcs', 'type A struct{ b int }'],
    'html': ['<h1>Title</h1>', '  <H2 class="x">T', '<h7>', '<p><h1>', '<h3 a', '<h6 b > c'],
    'java': ['public class Foo extends Bar {', '  private static int f(int a) {', 'return f(a)', '  interface X {', 'enum E {', '<T> List<T> g(T... a)', 'int x = f(a);', 'new X()',
             'class A', 'final class  B {', 'Map<String, int[]> h(', '@Override', 'throw new E()', 'do {'],
    'kotlin': ['fun f() {', 'private inline fun <T> g()', 'class A(val x: Int)', 'interface B', 'companion object', 'data  class C ', 'val x = fun ()', 'Fun x'],
    'markdown': ['# One', '   ## Two', '    # Three', '####### Seven', '#None', '######\tsix', 'text # x'],
    'matlab': ['function y = f(x)', '  classdef C', '%% section', '%%% sub', '% comment', '## octave', 'functions', '%%', 'x = 1'],
    'objc': ['- (void)foo:(int)a', '+ ( id ) bar', '@interface X : Y', '@implementation Z', '@end', 'int f(void)', 'static int g(int a)', 'return f(x)', 'int h(x);', '- (a', '@protocol P',
             'while (x)'],
    'pascal': ['procedure Foo;', 'class function Bar: X;', 'constructor Create', '  procedure Inner', 'TFoo = class(TBar)', 'X = record', 'interface', 'implementation', 'begin', 'initialization'],
    'perl': ['sub foo {', 'sub bar ($$) {', 'package Foo;', '  sub inner {', 'BEGIN {', 'END{ # x', '=head1 NAME', '=item x', "sub a'b::c : lvalue {", 'sub x { return 1 }', 'sub y', 'INIT',
             'sub z($;@)  : method # x'],
    'php': ['function f() {', '  public static function g()', 'final class X', 'abstract  class Y', 'trait T', 'enum E: int', 'interface I', '$x = function () {', 'classes', 'private x'],
    'python': ['def f():', '  async def g(a):', 'class X(Y):', '@decorator', 'define x', 'async with x:', 'class\tZ'],
    'ruby': ['def f', '  class X < Y', 'module M', 'define', 'classes x', 'def self.g(a)'],
    'rust': ['fn main() {', 'pub(crate) struct X;', 'pub(crate) struct Y {', 'impl<T> Z for A {', 'pub unsafe fn f() -> x', 'extern "C" fn g()', 'macro_rules! m {', 'mod a;',
             'async fn h()', 'const fn i()', 'const X: u8 = 1', 'pub(in a::b) enum E', 'extern fn j', 'union U {'],
    'scheme': ['(define (f x)', '(define-syntax y', '  (defstruct z)', '(library a', '(module+ b', '(struct s', '(let x', '(class* c', '(definee', '(defproto-x', '(def/x'],
    'tex': ['\\section{A}', '\\subsubsection*{B}', '\\chapter {C}', '\\part{D}', '  \\section{E}', '\\sectionx', 'text'],
    'nothing': ['int main(void)', '  x', '$y = 1', '_z', '9a', 'class A', 'ä'],
    '': ['int main(void)', '  x', '$y = 1', '_z', '9a', 'class A', 'label:', 'ä', '\x0bvt', 'a \x0c'],
}
PIECES = [' ', '\t', '  ', ';', '{', '(', ')', ':', '=', 'x', '*', '"', '#', '.', 'public ', 'static ', 'new ', 'is ', 'end ', ' a' * 45, '\x0b', "'", '<', '/', '\\', '[', ']', 'é']


def line_of(rng, name):
    """As written, or with a piece in it or out of it, or in capitals, or of another language."""
    line = rng.choice(LINES_OF[name] if rng.random() < 0.9 else LINES_OF[rng.choice(sorted(LINES_OF))])
    for _ in range(rng.choice([0, 0, 1, 1, 2, 3])):
        at = rng.randrange(len(line) + 1)
        line = line[:at] + rng.choice(PIECES) + line[at + rng.choice([0, 0, 0, 1, 2]):]
    line = rng.choice([str, str, str, str, str.upper, str.swapcase])(line)
    return line + rng.choice(['', '', '', ' ', '\t', '\r'])


def text_of(rng, name):
    return ''.join(f'{line_of(rng, name)}\n\t{n}=;\n' for n in range(LINES)).encode()


class Headings(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix='cop-headings-', dir=os.environ.get('COPPICE_TEST_DIR', '/var/tmp'))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def repository(self, files):
        path = os.path.join(self.folder, 'repo.git')
        repo = repo_maker.Repo(path)
        repo.begin()
        for name, text in files.items():
            repo.add(name.encode(), text)
        repo.finish()
        clone = os.path.join(self.folder, 'clone')
        subprocess.run(['git', 'clone', '-q', path, clone], check=True, timeout=120)
        return path, clone

    def same(self, node, clone, path, *options):
        mine = node.cli('diff', 'job', *options, '--', path, text=False).stdout
        gits = git(clone, '-c', 'core.abbrev=7', 'diff', *options, '--', path)
        if mine == gits:
            return gits
        text = [line[1:] for line in gits.split(b'\n') if line[:1] in (b'-', b' ')]
        for a, b in zip(mine.split(b'\n'), gits.split(b'\n')):
            self.assertEqual(a, b, (path, options, text[:3]))
        return self.assertEqual(len(mine), len(gits))

    def test_headings_are_those_of_git(self):
        for seed in SEEDS:
            rng = random.Random(seed)
            files = {f'{name or "plain"}.txt': text_of(rng, name) for name in LINES_OF}
            rules = ''.join(f'{name}.txt diff={name}\n' for name in LINES_OF if name)
            repository, clone = self.repository({**files, '.gitattributes': rules.encode()})
            with Node({'demo': repository}) as node:
                root = node.mount('job').root
                for name, text in files.items():
                    for top in (root, clone):
                        with open(os.path.join(top, name), 'wb') as f:
                            f.write(text.replace(b'=;\n', b'=;;\n'))
                    gits = self.same(node, clone, name, '-U0')
                    headings = [line for line in gits.split(b'\n') if line.startswith(b'@@') and not line.endswith(b'@@')]
                    self.assertGreater(len(headings), LINES // 4, (seed, name))
                for top in (root, clone):  # fewer changes, with context
                    for name, text in files.items():
                        lines = text.split(b'\n')
                        del lines[20:LINES:30]
                        lines[5:5] = [b'one', b'', b'more']
                        with open(os.path.join(top, name), 'wb') as f:
                            f.write(b'\n'.join(lines)[:-1])
                for name in files:
                    self.same(node, clone, name, f'-U{rng.randrange(1, 8)}')
            shutil.rmtree(repository)
            shutil.rmtree(clone)


def main():
    global LINES, SEEDS  # pylint: disable=global-statement
    arguments = sys.argv[1:]
    for name in ('--lines', '--seeds'):
        if name in arguments:
            at = arguments.index(name)
            value = arguments[at + 1]
            del arguments[at:at + 2]
            if name == '--lines':
                LINES = int(value)
            else:
                first, _, last = value.partition('-')
                SEEDS = range(int(first), int(last or first) + 1)
    unittest.main(argv=sys.argv[:1] + arguments, verbosity=2)


if __name__ == '__main__':
    main()

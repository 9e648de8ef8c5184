/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which lines are headings in the languages that Git 2.39 knows. What counts is what `git diff`
 * shows, its oddities included (of a Perl sub with a prototype, the prototype); tests/e2e compares.
 */
#include "workflow/heading.h"

#define B      "[ \t]"
#define B0     B "*"
#define B1     B "+"
#define WORD   "[A-Za-z_][A-Za-z_0-9]*"
#define PARENS "\\(" B0 "\\)"

#define NOT_A(words)                                               \
	{                                                          \
		"^(" words ")", WF_HEADING_NOT | WF_HEADING_INDENT \
	}
#define INDENTED(what)                           \
	{                                        \
		"^(" what ")", WF_HEADING_INDENT \
	}
#define FLUSH(what)              \
	{                        \
		"^(" what ")", 0 \
	}
#define PART(what)                    \
	{                             \
		what, WF_HEADING_PART \
	}

#define CS_ACCESS "static|public|internal|private|protected|new|unsafe|sealed"
#define CS_MEMBER CS_ACCESS "|virtual|override"

const struct wf_heading_language wf_heading_languages[] = {
	{"ada", true,
		{{"^(.*" B ")?(renames|is" B1 "(new|separate))(" B "|$)", WF_HEADING_NOT},
			NOT_A("with" B),
			INDENTED("(function|package|procedure|protected|task)" B1)}},
	{"bash", false,
		{{"^(" WORD B0 PARENS "|function" B1 WORD "(" B0 PARENS "|" B1 ")" B0
		  "(\\{|\\(\\(?|\\[\\[))",
			WF_HEADING_INDENT | WF_HEADING_PART}}},
	{"bibtex", false, {PART("@[A-Za-z]+" B0 "\\{?" B0 "[^ \t\"@',\\#}{~%]*")}},
	{"cpp", false, {NOT_A(WORD ":[[:space:]]*($|/[/*])"), FLUSH("(::[[:space:]]*)?[A-Za-z_]")}},
	{"csharp", false,
		{NOT_A("case|catch|do|else|for|if|instanceof|new|return|switch|throw|using|while"),
			INDENTED("((" CS_MEMBER "|async)" B1 ")*[][<>@.~_[:alnum:]]+" B1
				 "[<>@._[:alnum:]]+" B0 "\\(.*\\)" B0 "$"),
			INDENTED("((" CS_MEMBER ")" B1 ")*[][<>@.~_[:alnum:]]+" B1
				 "[@._[:alnum:]]+" B0 "$"),
			INDENTED("((" CS_ACCESS "|abstract|partial)" B1
				 ")*(class|enum|interface|record|struct)" B1),
			INDENTED("namespace" B1)}},
	{"css", true, {{"[:;][[:space:]]*$", WF_HEADING_NOT}, FLUSH("[:[@.#]?[_a-z0-9]")}},
	{"dts", false, {{"[;=]", WF_HEADING_NOT}, INDENTED("/" B0 "\\{|&?[a-zA-Z_]")}},
	{"elixir", false, {INDENTED("(def(impl|macro|module|p|protocol)?|test)" B)}},
	{"fortran", true,
		{{"^([C*]|" B0 "!)", WF_HEADING_NOT}, NOT_A("MODULE" B1 "PROCEDURE" B),
			INDENTED("(END" B1 ")?(BLOCK" B1 "DATA|MODULE|PROGRAM|([^!'\" \t]+" B1
				 ")*(FUNCTION|SUBROUTINE))" B1 "[A-Z]")}},
	{"fountain", true, {FLUSH("\\.[^.]|(est|ext|i/e|int|int\\.?/ext)[. ]")}},
	{"golang", false,
		{INDENTED("func"), {"^(type" B ".*(interface|struct)" B0 "(\\{" B0 ")?)",
					   WF_HEADING_INDENT | WF_HEADING_PART}}},
	{"html", false, {INDENTED("<[Hh][1-6](" B ".*)?>")}},
	{"java", false,
		{NOT_A("catch|do|for|if|instanceof|new|return|switch|throw|while"),
			INDENTED("([a-z]+" B1 ")*(class|enum|interface)" B1
				 "[A-Za-z][A-Za-z0-9_$]*" B1),
			INDENTED(
				"([A-Za-z_<>&][][?&<>.,A-Za-z_0-9]*" B1 ")+" WORD B0 "\\([^;]*$")}},
	{"kotlin", false, {INDENTED("([a-z]+" B1 ")*(class|fun|interface)" B1)}},
	{"markdown", false, {FLUSH(" {0,3}#{1,6}" B)}},
	{"matlab", false,
		{PART("^[[:space:]]*((classdef|function)[[:space:]].*)$"),
			FLUSH("(%%%?|##)[[:space:]]")}},
	{"objc", false,
		{NOT_A("do|else|for|if|return|switch|while"),
			INDENTED("[-+]" B0 "\\(" B0 "[A-Za-z_][A-Za-z_0-9* \t]*\\)" B0 "[A-Za-z_]"),
			INDENTED("(" WORD B1 ")+" WORD B0 "\\([^;]*$"),
			FLUSH("@(implementation|interface|protocol)" B)}},
	{"pascal", false,
		{FLUSH("(class" B1 ")?(function|procedure)|constructor|destructor|finalization|"
		       "implementation|initialization|interface"),
			FLUSH(".*=" B0 "(class|record)")}},
	{"perl", false,
		{FLUSH("package "),
			PART("^sub [[:alnum:]_':]+" B0 "(\\([^)]*\\)" B0 ")?(:[^;#]*)?(\\{" B0
			     ")?(#.*)?$"),
			PART("^(AUTOLOAD|BEGIN|CHECK|DESTROY|END|INIT|UNITCHECK)" B0 "(\\{" B0
			     ")?(#.*)?$"),
			FLUSH("=head[0-9] ")}},
	{"php", false,
		{INDENTED("((abstract|final|private|protected|public|static)" B1 ")*function"),
			INDENTED("((abstract|final)" B1 ")?class|enum|interface|trait")}},
	{"python", false, {INDENTED("((async" B1 ")?def|class)" B)}},
	{"ruby", false, {INDENTED("(class|def|module)" B)}},
	{"rust", false,
		{INDENTED("(pub(\\([^)\\]+\\))?" B1 ")?((async|const|extern" B1
			  "\"[^\"]+\"|unsafe)" B1
			  ")?(enum|fn|impl|macro_rules!|mod|struct|trait|union)[< \t]+[^;]*$")}},
	{"scheme", false,
		{INDENTED("\\((def(alias|class|ine|method|proto|record|rules|struct|syntax)?"
			  "[-*/ \t]|(class|library|module|struct)[*+ \t])")}},
	{"tex", false, {FLUSH("\\\\((sub)*section|chapter|part)\\*?\\{")}},
};
const size_t wf_heading_language_count =
	sizeof(wf_heading_languages) / sizeof(wf_heading_languages[0]);

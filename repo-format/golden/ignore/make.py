#!/usr/bin/env python3
"""Asks the real Kopia which files its ignore rules leave out, and writes the answers down.

    KOPIA=/path/to/kopia python3 make.py [SEED COUNT]

Each case is a small tree with ignore files and policies. All cases become directories of one source, so that a single
`kopia snapshot create` answers them; `kopia ls -r` then says what was kept. A rule of such a case is anchored at the
directory of the case, as it would be at a root; cases marked `root` are asked once more as sources of their own and
must give the same answer. Without arguments the cases below and 400 random ones are written to cases.json; with a seed
and a count, that many other random cases go to standard output, for a wider search that is not kept.
"""

import base64, itertools, json, os, random, re, subprocess, sys, tempfile

KOPIA = os.environ.get("KOPIA", "kopia")
HERE = os.path.dirname(os.path.abspath(__file__))


class Kopia:
    def __init__(self, folder):
        self.env = dict(os.environ, KOPIA_CHECK_FOR_UPDATES="false", KOPIA_PASSWORD="golden", KOPIA_USE_KEYRING="false",
                        KOPIA_CONFIG_PATH=f"{folder}/config", KOPIA_LOG_DIR=f"{folder}/logs", TZ="UTC")
        os.mkdir(f"{folder}/repository")
        self("repository", "create", "filesystem", f"--path={folder}/repository", f"--cache-directory={folder}/cache",
             "--override-hostname=h", "--override-username=u")

    def __call__(self, *args, stdin=None, check=True):
        done = subprocess.run([KOPIA, "--no-progress", *args], env=self.env, input=stdin, capture_output=True)
        if check and done.returncode != 0:
            raise SystemExit(f"{args}: {done.stderr.decode()}")
        return done.stdout.decode(), done.stderr.decode()


# The tree every random case and most others use. A trailing slash makes a directory.
UNIVERSE = """
a b c ab ba abc A Ab a.b .a a.txt b.txt #a !a a!b a-b a]b [a] a*b a?b a\\b {a,b} é éa
"a b" "a " " a" x/ x/a x/b x/ab x/a.txt x/x/ x/x/a x/x/b x/y/ x/y/a x/y/x/ x/y/x/a
y/ y/a y/x/ y/x/a y/x/b y/b/ y/b/a y/b/c/ y/b/c/a ab.d/ ab.d/a ab.d/b [x]/ [x]/a [x]/b z/ a/
"""


def universe():
    found = [quoted or plain for quoted, plain in re.findall(r'"([^"]*)"|(\S+)', UNIVERSE)]
    return [entry for entry in dict.fromkeys(found) if entry != "a/"]


def case(name, rules, tree=None, policies=None, root=True):
    """`rules` is the text of the dot file at the top, or a map from dot file to text (bytes allowed)."""
    if not isinstance(rules, dict):
        rules = {".kopiaignore": rules} if rules else {}
    files = {path: text.encode() if isinstance(text, str) else text for path, text in rules.items()}
    return {"name": name, "tree": tree or universe(), "files": files, "policies": policies or {}, "root": root}


def by_hand():
    one = lambda pattern: case(f"pattern {pattern!r}", pattern + "\n", root=False)
    yield case("no rules", "")
    for pattern in [
        "a", "a/", "/a", "/x", "x", "x/", "/x/", "x/a", "/x/a", "x/x", "x/x/", "x/x/a", "y/x/", "a.txt", "*.txt", "*",
        "/*", "*/", "?", "??", "a?", "?b", "*b", "a*", "*a*", "**", "**/", "/**", "**/a", "**/x", "**/x/", "/**/a",
        "x/**", "x/**/", "/x/**", "x/*", "x/*/", "x/**/a", "y/**/a", "/**/x/a", "**/x/a", "**/x/**", "**/b/**/a", "a**",
        "**a", "a**b", "x**a", "x/**a", "x/a**", "x**/a", "***", "x/***", "*/a", "*/*", "*/*/a", "*/*/", "/*/a", "/*/x/",
        "x*", "x?a", "x[/]a", "x[!a]a",
        "[ab]", "[!a]", "[^a]", "[a-c]", "[!a-c]", "[A-Z]", "[a-z].txt", "[]a]", "[]]", "a[]]b", "a[-]b", "a[a-]b", "a[!]]b",
        "[[]a]", "[[]a[]]", "\\[a\\]", "\\[a]", "[a\\]", "[\\a]", "[\\]]", "a[\\]]b", "[[:alpha:]]", "[[:lower:]]b",
        "[[:foo:]]", "[a", "[", "]", "[]", "[!]", "[^]", "[c-a]", "[a-", "a[]b", "[a-c-e]", "[é]", "[!é]", "?a", "é", "é*", "[a-é]",
        "\\a", "\\#a", "#a", "\\!a", "!a", "\\*", "a\\*b", "a\\?b", "a\\\\b", "a\\b", "a\\", "\\", "{a,b}", "\\{a,b\\}",
        "a.b", ".a", ".*", "*.*", "a b", "a ", "a\\ ", " a", "\\ a", "a  ", "a\t", "\ta", "a/ ", "a \\ ", "A", "a.TXT", "AB",
        "//a", "a//", "x//a", "/", "//", "./a", "./x/a", "x/./a", "x/../a", "../a", "a/.", "x/.", ".", "..", "x/a/",
        "/x/x/", "x/x/x", "ab.d", "ab.d/", "*.d/", "*.d", "[x]", "[x]/a", "\\[x\\]/a", "\\[x]", "/[xy]/a", "/[!y]/a",
        "a!b", "a-b", "a]b", "!", "!!a", "#", "##", " #a", "# a", ".kopiaignore", "/.kopiaignore", "*.kopiaignore",
    ]:
        yield one(pattern)
    for name, rules in {
        "blank lines": "\n\na\n\n\nb\n\n",
        "lines of blanks": "   \n\t\na\n",
        "comment": "#a\na.b\n",
        "comment after blanks": "  #a\na.b\n",
        "comment after a rule": "a #comment\n",
        "no newline at the end": "a",
        "CRLF": "a\r\nx/\r\n",
        "CRLF and blank lines": "\r\na\r\n\r\n",
        "lone CR": "a\rb\n",
        "byte order mark": "\ufeffa\nb\n",
        "zero byte": "a\0\nb\n",
        "negation": "*\n!a\n",
        "negation first": "!a\n*\n",
        "negation of a directory": "*\n!x/\n",
        "negation of a directory and all in it": "*\n!x/\n!x/**\n",
        "negation of a directory and one in it": "*\n!x/\n!x/a\n",
        "negation below an ignored directory": "x/\n!x/a\n",
        "negation below an ignored directory, by name": "x\n!a\n",
        "negation below what is in a directory": "x/*\n!x/a\n",
        "negation below what is in a directory, deep": "x/**\n!x/x/a\n",
        "negation two deep with its parents": "/*\n!/x\n/x/*\n!/x/x\n",
        "negation deep with a chain": "*\n!x\n!x/x\n!x/x/a\n",
        "negation anchored": "a\n!/a\n",
        "negation in a directory": "a\n!x/a\n",
        "negation with two stars": "a\n!**/y/a\n",
        "negation for directories only": "x\n!x/\n",
        "negation for directories only of a file": "a\n!a/\n",
        "negation and back": "a\n!a\na\n",
        "negation after blanks": "a\n !a\n",
        "negation with blanks": "a\n! a\n",
        "negation escaped": "\\!a\n",
        "negation twice": "a\n!!a\n",
        "negation of an extension": "*.*\n!*.txt\n",
        "all but an extension": "*\n!*.txt\n",
        "all but directories": "*\n!*/\n",
        "all files but an extension": "*\n!*/\n!*.txt\n",
        "slash star then one": "/*\n!/x/\n",
        "trailing blanks": "a   \nx/a  \n",
        "trailing blank escaped": "a\\ \n",
        "leading blanks": "   a\n",
        "trailing tab": "a\t\n",
        "bad rule among others": "b\n[a\n",
        "bad rule ending in a backslash": "a\\\n",
        "very long line": "q" * 70000 + "\na\n",
    }.items():
        yield case(name, rules)
    nested = lambda name, **rules: case(name, {path.replace("__", "/").replace("_k", ".kopiaignore"): text for path, text in rules.items()})
    yield nested("rules of a sub-directory stay there", x___k="a\n")
    yield nested("anchored in a sub-directory", x___k="/a\n")
    yield nested("inner slash in a sub-directory", x___k="x/a\n")
    yield nested("sub-directory allows again", _k="a\n", x___k="!a\n")
    yield nested("sub-directory allows again below an ignored directory", _k="x/\n", x___k="!a\n")
    yield nested("sub-directory allows again what is in it", _k="x/*\n", x___k="!a\n")
    yield nested("sub-directory forbids again", _k="a\n!x/a\n", x___k="a\n")
    yield nested("two levels", _k="a\n", x___k="!a\n", x__x___k="a\n")
    yield nested("two levels the other way", _k="a\n!x/a\n", x___k="a\n", x__x___k="!a\n")
    yield nested("anchored two levels deep", _k="/x/y/a\n", x__y___k="!/a\n")
    yield nested("parent forbids deep, child allows by path", _k="x/y/x/a\n", x___k="!y/x/a\n")
    yield nested("child negation without a rule", x___k="!a\n")
    yield nested("bad rule in a sub-directory", x___k="[a\n")
    yield nested("bad rule in an ignored sub-directory", _k="x/\n", x___k="[a\n")
    yield nested("child with star", _k="*\n!x/\n!*/\n", x___k="!a\n")
    yield case("rules in a directory with brackets", {"[x]/.kopiaignore": "/a\n"})
    yield case("rules in a directory with brackets, negated", {".kopiaignore": "a\n", "[x]/.kopiaignore": "!/a\n"})
    yield case("rules in a directory with a dot", {"ab.d/.kopiaignore": "a\n!b\n"})
    yield case("invalid UTF-8", {".kopiaignore": b"\xff\na\n"})
    yield case("invalid UTF-8 in a rule with a star", {".kopiaignore": b"*\xff*\na\n"})
    yield case("invalid UTF-8 in brackets", {".kopiaignore": b"[\xff]*\nb\n"})
    yield case("ignored dot file", {".kopiaignore": ".kopiaignore\na\n"})
    yield case("dot file is a directory", {}, tree=["a", "b", ".kopiaignore/", ".kopiaignore/a"])
    yield case("empty directory stays", "a\n", tree=["z/", "x/", "x/a"])
    yield case("symbolic link to a directory is a file", "l/\nm\n", tree=["d/", "d/a", "l@d", "m@d"])

    ignore = lambda *patterns, **more: {"files": {"ignore": list(patterns), **more}}
    both = lambda name, rules, **policies: case(name, rules, policies=policies["p"])
    for patterns in [["a"], ["/a"], ["x/a"], ["x/"], ["*", "!a"], ["!a", "*"], ["a ", "#a"], ["a\nb"], [""], ["/x/y/a"], ["*.txt"],
                     ["  a"], ["a\r"], ["\\#a"], ["**/x/a"], ["[a"], ["!"], ["/"]]:
        yield case(f"policy {patterns!r}", "", policies={"": ignore(*patterns)})
    yield both("policy, then dot file allows", "!a\n", p={"": ignore("a")})
    yield both("policy allows, dot file forbids", "a\n", p={"": ignore("!a")})
    yield both("policy allows a part of what the dot file forbids", "*\n", p={"": ignore("!x/")})
    yield both("dot file below, policy above", {"x/.kopiaignore": "!a\n"}, p={"": ignore("a")})
    yield both("policy below and above", "", p={"": ignore("a"), "x": ignore("b")})
    yield both("policy below allows", "", p={"": ignore("a"), "x": ignore("!a")})
    yield both("policy below allows against the dot file above", "a\n", p={"x": ignore("!a")})
    yield both("policy below, dot file below allows", {"x/.kopiaignore": "!a\n"}, p={"x": ignore("a")})
    yield both("anchored rule of a policy does not come down", "", p={"": ignore("/a"), "x": ignore("b")})
    yield both("rule with a path does not come down", "", p={"": ignore("x/a"), "x": ignore("b")})
    yield both("policy below that only limits sizes", "", p={"": ignore("/a", "/x/x/a"), "x": {"files": {"maxFileSize": 1000}}})
    yield both("policy below with noParentIgnore", "", p={"": ignore("a"), "x": ignore("b", noParentIgnore=True)})
    yield both("policy below with noParentIgnore and no rules", "", p={"": ignore("a"), "x": {"files": {"noParentIgnore": True}}})
    yield both("policy two below with noParentIgnore", "", p={"": ignore("a"), "x/y": ignore("b", noParentIgnore=True)})
    yield both("policy below with noParent", "", p={"": ignore("a"), "x": {"noParent": True, **ignore("b")}})
    yield both("noParentIgnore at the top", "a\n", p={"": ignore("b", noParentIgnore=True)})
    yield both("policy of a directory that is ignored", "x/\n", p={"x": ignore("!a")})
    yield both("policy two below", "", p={"x/y": ignore("a")})
    yield both("anchored policy two below", "", p={"x/y": ignore("/x/a")})
    dots = lambda *names, **more: {"files": {"ignoreDotFiles": list(names), **more}}
    yield both("another dot file", {".kopiaignore": "a\n", ".other": "b\n"}, p={"": dots(".other")})
    yield both("another dot file alone", {".kopiaignore": "a\n", ".other": "b\n"}, p={"": dots(".other", noParentDotFiles=True)})
    yield both("no dot files", {".kopiaignore": "a\n", ".other": "b\n"}, p={"": {"files": {"noParentDotFiles": True}}})
    yield both("two dot files against each other", {".kopiaignore": "a\n", ".zother": "!a\n"}, p={"": dots(".zother")})
    yield both("two dot files against each other, turned", {".kopiaignore": "!a\n", ".zother": "a\n"}, p={"": dots(".zother")})
    yield both("two dot files, other order", {".kopiaignore": "a\n", ".aother": "!a\n"}, p={"": dots(".aother")})
    yield both("two dot files, other order, turned", {".kopiaignore": "!a\n", ".aother": "a\n"}, p={"": dots(".aother")})
    yield both("three dot files", {".kopiaignore": "a\n", ".z": "!a\n", ".b": "a\n"}, p={"": dots(".z", ".b", noParentDotFiles=True)})
    yield both("three dot files, turned", {".kopiaignore": "a\n", ".z": "!a\n", ".b": "a\n"}, p={"": dots(".b", ".z", noParentDotFiles=True)})
    yield both("dot file only below", {"x/.other": "b\n", ".other": "a\n"}, p={"x": dots(".other")})
    yield both("dot file named with a path", {"x/.other": "b\n"}, p={"": dots("x/.other")})
    yield both("dot file switched off below", {"x/.kopiaignore": "b\n", ".kopiaignore": "a\n"}, p={"x": {"files": {"noParentDotFiles": True}}})
    sized = ["s0", "s9", "s10", "s11", "x/", "x/s11", "x/s10", "l@s11"]
    sizes = lambda size, **more: {"files": {"maxFileSize": size, **more}}
    yield case("size limit", "", tree=sized, policies={"": sizes(10)})
    yield case("size limit of one", "", tree=sized, policies={"": sizes(1)})
    yield case("size limit below", "", tree=sized, policies={"": sizes(10), "x": sizes(100)})
    yield case("size limit only below", "", tree=sized, policies={"x": sizes(10)})
    yield case("size limit and negation", "!s11\n", tree=sized, policies={"": sizes(10)})
    yield case("negative size limit", "", tree=sized, policies={"": sizes(-1)})
    tag = b"Signature: 8a477f597d28d172789f06886806bc55"
    cache = ["a", "x/", "x/a", "x/CACHEDIR.TAG", "x/y/", "x/y/a"]
    for name, text in {"": tag, " with more": tag + b"\nmore", " cut": tag[:-1], " with blank first": b" " + tag, " in capitals": tag.upper(),
                       " followed by digits": tag + b"55", " empty": b"", " with mark": b"\xef\xbb\xbf" + tag, " long": tag + b"x" * 5000}.items():
        yield case(f"cache tag{name}", {"x/CACHEDIR.TAG": text}, tree=cache)
    yield case("cache tag at the top", {"CACHEDIR.TAG": tag}, tree=["a", "x/", "x/a"])
    yield case("cache tag in a name of small letters", {"x/cachedir.tag": tag}, tree=["a", "x/", "x/a"])
    yield case("cache tag switched off", {"x/CACHEDIR.TAG": tag}, tree=cache, policies={"": {"files": {"ignoreCacheDirs": False}}})
    yield case("cache tag switched off below", {"x/CACHEDIR.TAG": tag}, tree=cache, policies={"x": {"files": {"ignoreCacheDirs": False}}})
    yield case("cache tag switched on below", {"x/CACHEDIR.TAG": tag}, tree=cache,
               policies={"": {"files": {"ignoreCacheDirs": False}}, "x": {"files": {"ignoreCacheDirs": True}}})
    yield case("cache tag ignored", {"x/CACHEDIR.TAG": tag, ".kopiaignore": "CACHEDIR.TAG\n"}, tree=cache)
    yield case("cache tag ignored in its directory", {"x/CACHEDIR.TAG": tag, "x/.kopiaignore": "CACHEDIR.TAG\n"}, tree=cache)
    yield case("cache tag and negation", {"x/CACHEDIR.TAG": tag, "x/.kopiaignore": "!a\n"}, tree=cache)
    yield case("cache tag two deep", {"x/y/CACHEDIR.TAG": tag}, tree=cache[:3] + ["x/y/", "x/y/a", "x/y/z/", "x/y/z/b"])
    yield case("cache tag is a directory", {}, tree=["a", "x/", "x/a", "x/CACHEDIR.TAG/"])
    yield case("cache tag is a link", {"t": tag}, tree=["a", "t", "x/", "x/a", "x/CACHEDIR.TAG@../t"])


    yield both("policy below without dot files, dot files deeper", {"x/.kopiaignore": "b\n", "x/y/.kopiaignore": "a\n", "y/.kopiaignore": "a\n"},
               p={"x": ignore("ab")})
    yield both("policy below with dot files, dot files deeper", {"x/.kopiaignore": "b\n", "x/y/.kopiaignore": "a\n", "y/.kopiaignore": "a\n"},
               p={"x": dots(".kopiaignore")})
    yield both("policy two below brings dot files back", {"x/.kopiaignore": "b\n", "x/y/.kopiaignore": "a\n", "x/y/x/.kopiaignore": "x\n"},
               p={"x": ignore("ab"), "x/y": dots(".kopiaignore")})
    yield both("empty policy below", {"x/.kopiaignore": "b\n", "x/y/.kopiaignore": "a\n"}, p={"x": {}})
    yield both("policy below with noParent and dot files", {"x/.kopiaignore": "b\n", "x/y/.kopiaignore": "a\n"}, p={"x": {"noParent": True}})
    yield case("size limit above another policy", "", tree=sized, policies={"": sizes(10), "x": ignore("q")})
    yield case("size limit above a policy with noParent", "", tree=sized, policies={"": sizes(10), "x": {"noParent": True}})
    yield case("cache tag switched off above another policy", {"x/CACHEDIR.TAG": tag}, tree=cache,
               policies={"": {"files": {"ignoreCacheDirs": False}}, "x": ignore("q")})
    yield case("cache tag switched off above a policy with noParent", {"x/CACHEDIR.TAG": tag}, tree=cache,
               policies={"": {"files": {"ignoreCacheDirs": False}}, "x": {"noParent": True}})
    yield case("cache tag switched off two above", {"x/y/CACHEDIR.TAG": tag}, tree=cache, policies={"": {"files": {"ignoreCacheDirs": False}}})
    yield case("cache tag below another policy that is below a switch", {"x/y/CACHEDIR.TAG": tag}, tree=cache[:3] + ["x/y/", "x/y/a", "x/y/z/", "x/y/z/b"],
               policies={"": {"files": {"ignoreCacheDirs": False}}, "x": ignore("q")})
    for length in [65534, 65535, 65536]:
        yield case(f"line of {length} bytes", "q" * length + "\na\n")
        yield case(f"line of {length} bytes before CRLF", "q" * (length - 1) + "\r\na\n", root=False)
        yield case(f"last line of {length} bytes", "b\n" + "*" * (length - 1) + "a", root=False)
    for pattern in ["a\0b", "\0a", "!a\0b", "[a\0]", "a\\\0", "a\0 ", "x/\0", "x\0/a", "**\0"]:
        yield one(pattern)
    stars = tree_of_stars()
    for pattern in ["x/y*a", "x/y*b/a", "y*a", "/y*a", "x/*z*a", "y*b*a", "/y*b*a", "x/*a*", "x/*/*a", "/*a", "/y*z*a", "/*y*a", "/*[a]", "x/y*[!q]a",
                    "/y[!q]*a", "/y?*a", "/y*?a", "/y*", "/y*b", "/*c", "/*b/c", "**/y*a", "**/*a", "x/**/*a", "z/**/y*a", "y*b/", "/y*b/*a",
                    "/*b*c", "*/y*a", "/*a*c", "x/**a", "x/**b", "x/***/a", "x/***a", "***/a", "x/****/a", "x/**/**/a", "**/**", "x/**/z/**/a",
                    "\\/a", "x\\/a", "y\\/", "x/\\y/a", "[/]a", "x[a/]a", "x[!/]a", "x/[*]a", "x/*\\a", "x/**\\/a", "x/**[/]a", "*[/]a", "/**[/]a", "**[!x]a"]:
        yield case(f"pattern {pattern!r} among stars", pattern + "\n", tree=stars, root=False)
        yield case(f"negated pattern {pattern!r} among stars", f"*\n!*/\n!{pattern}\n", tree=stars, root=False)
    for pattern in ["*x*/b", "/*x*/b", "*x/b", "*y*/b", "*d*/b", "/*d*/b", "*d*/d*/b", "*d*/*b", "*d*[/]b", "*d*\\/b", "/*d*a", "/*d*?b", "*d*/ab", "*d*x*/b",
                    "*/d*/b", "**/*d*/b", "/*d/*b", "*d*/?", "*d*/[b]", "d*/*d*/b", "*d*/**/b", "*d*/**", "*x*/*b", "*[x]*/b", "?*x*/b", "**[/b]", "**[/b]c",
                    "*[/b]c", "/**[/b]c", "**x/[a-c]", "**y/b", "/**y/b", "x/**y/**y/b", "x[[:alpha:]]", "/x[[:alpha:]]", "*[[:alpha:]]", "/*x[[:alpha:]]",
                    "/**[[:alpha:]]", "**x[[:alpha:]]", "x/[[:alpha:]]", "/**x[a-z]"]:
        yield case(f"pattern {pattern!r} in the deep", pattern + "\n", tree=deep_tree(), root=False)
    blanks = ["a" + " " * count for count in range(4)] + ["ab" + " " * count for count in range(3)] + [" " * count for count in range(1, 4)]
    blanks += ["x/", "x/a", "x/a ", " a", " a ", " ab", "\ta", "a\t", "a \t", "a\t ", "b", "a\u00a0", "\u00a0a", "a\x0b", "\x0ca", "a\u2003", "a\u200b", "a\u0085"]
    for pattern in ["a", " ", " a ", "a ", "a  ", "a   ", "ab ", "ab  ", "x/a ", "x/a  ", "* ", "*  ", "? ", "?  ", "  ", "   ", "\\ ", "a\\ ", "a\\  ",
                    "a \\ ", "a\\ \\ ", "a\t", "a\t ", "a \t", "\t a", "\\\ta", "[a] ", "a\\\\ ", "x/ ", "x/  ", "/a ", "/a  ", " /a", " \\ a", "a\u00a0",
                    "\u00a0a", "a\x0b", "\x0ba", "\x0ca", "a\u2003", "\u2003a", "a\u200b", "a\u0085", "\u0085a", "a\x1c", "\x1ca", "  b", "b \\", "b\\\t"]:
        yield case(f"pattern {pattern!r} among blanks", pattern + "\n", tree=blanks, root=False)
        yield case(f"negated pattern {pattern!r} among blanks", f"*\n!{pattern}\n", tree=blanks, root=False)


def deep_tree():
    tops = ["x/", "x/x/", "x/y/", "xx/", "x/x/x/", "y/", "y/x/", "y/x/x/", "d/", "d/x/", "x/d/", "x/y/y/", "x/y/x/", "dq/", "dq/dq/", "d/dq/", "dq/d/", "dq/xd/",
            "q/", "q/d/", "q/dq/", "q/dq/d/", "d/d/", "d/d/d/", "qd/", "qd/d/", "qd/qd/", "dx/", "dx/x/", "dx/xd/"]
    return tops + [top + name for top in [""] + tops for name in ["a", "b", "ab", "xb", "db", "bc"]]


def tree_of_stars():
    tree = []
    for top in ["", "x/", "x/yz/", "x/y/", "x/yzz/", "x/yz/b/", "yz/", "y/", "yzz/", "yz/b/", "yz/b/c/", "x/yz/b/c/", "z/", "z/yz/", "z/yz/b/",
                "yb/", "yb/yb/", "ybc/", "x/yb/", "x/yb/q/"]:
        tree += [top] * bool(top) + [top + name for name in ["a", "qa", "ab", "ac", "b.c"]]
    return tree


PIECES = ["a", "b", "x", "y", "*", "**", "?", "/", "/", "[ab]", "[!a]", "[a-c]", "a", "x/", "/x", "*/", "**/", "/**", ".txt", "\\a", "A",
          "[^b]", ".", "-", "ab", "\\*", "[xy]", " ", "é", "]", "!", "[]a]", "[a-x]", "{a,b}", "[*]", "[?a]", "#", "\\\\", "[[:alpha:]]"]
WEIGHTS = [8, 6, 8, 6, 8, 6, 5, 8, 8, 3, 3, 3, 5, 5, 5, 4, 5, 5, 2, 1, 1, 1, 1, 1, 2, 1, 2, .5, 1, .5, .5, .5, .5, .3, .5, .5, .3, .3, .3]


STAR_PIECES = ["a", "b", "c", "x/", "y", "z", "yz", "q", "*", "*", "*", "*", "**", "**/", "/", "/", "?", "[!a]", "[!z]", "b/", "[/b]"]


def at_random(seed, count):
    rng = random.Random(seed)

    def rule(among_stars=False):
        pieces = (STAR_PIECES,) if among_stars else (PIECES, WEIGHTS)
        text = "".join(rng.choices(*pieces, k=rng.randint(1, 6 if among_stars else 5)))
        return ("!" if rng.random() < .3 else "") + text

    for number in range(count):
        if number % 3 == 0:
            rules = "".join(rule(True) + "\n" for _ in range(rng.randint(1, 3)))
            if rng.random() < .4:
                rules = "*\n!*/\n" + rules
            yield case(f"random {seed}/{number}", rules, tree=tree_of_stars(), root=False)
            continue
        rules = {".kopiaignore": "\n".join(rule() for _ in range(rng.randint(1, 4))) + "\n"}
        if rng.random() < .25:
            rules[rng.choice(["x", "x/y", "y", "x/x"]) + "/.kopiaignore"] = "\n".join(rule() for _ in range(rng.randint(1, 2))) + "\n"
        policies = {}
        if rng.random() < .15:
            policies[rng.choice(["", "x", "x/y"])] = {"files": {"ignore": [rule() for _ in range(rng.randint(1, 2))]}}
        yield case(f"random {seed}/{number}", rules, policies=policies, root=False)


def build(top, one):
    os.makedirs(top)
    for path in one["tree"]:
        if "@" in path:
            path, target = path.split("@")
            os.symlink(target, f"{top}/{path}")
        elif path.endswith("/"):
            os.makedirs(f"{top}/{path}", exist_ok=True)
        else:
            os.makedirs(os.path.dirname(f"{top}/{path}"), exist_ok=True)
            size = int(path.rsplit("/")[-1][1:]) if re.fullmatch(r"(x/)?s\d+", path) else 0
            with open(f"{top}/{path}", "wb") as file:
                file.write(b"s" * size)
    for path, text in one["files"].items():
        os.makedirs(os.path.dirname(f"{top}/{path}"), exist_ok=True)
        with open(f"{top}/{path}", "wb") as file:
            file.write(text)


def policies(top, cases):
    for path, one in cases:
        for below, policy in one["policies"].items():
            yield f"u@h:{top}/{path}/{below}".rstrip("/"), policy


def listed(kopia, top, root):
    """What was kept, directories with a slash; and the directories that could not be processed."""
    snapshot, errors = kopia("snapshot", "create", "--json", f"{top}/{root}".rstrip("/"), check=False)
    bad = re.findall(r'Error when processing "(.*?)": (.*)', errors)
    if not snapshot:
        return None, errors.strip().splitlines()[-1]
    object_id = json.loads(snapshot)["rootEntry"]["obj"]
    return [line.partition("/")[2] for line in kopia("ls", "-r", "--no-error-summary", object_id)[0].split("\n") if line], bad


def ask(folder, cases):
    kopia = Kopia(folder)
    top = f"{folder}/source"
    os.mkdir(top)
    numbered = [(f"c{number:05}", one) for number, one in enumerate(cases)]
    for path, one in numbered:
        build(f"{top}/{path}", one)
    with open(f"{folder}/policies.json", "w") as file:
        json.dump(dict(policies(top, numbered)), file)
    kopia("policy", "import", f"--from-file={folder}/policies.json")
    kept, bad = listed(kopia, top, "")
    assert kept is not None, bad
    answers = {path: [] for path, _ in numbered}
    for line in kept:
        path, _, rest = line.partition("/")
        if rest:
            answers[path].append(rest)
    failed = {}
    for path, message in bad:
        failed.setdefault(path.split("/")[0], []).append([path.partition("/")[2], message])
    out = []
    for path, one in numbered:
        answer = {"name": one["name"], "kept": sorted(answers[path])}
        if path in failed:
            answer["bad_directories"] = sorted(where for where, _ in failed[path])
        if one["tree"] == tree_of_stars():
            answer["tree"] = "stars"
        elif one["tree"] == deep_tree():
            answer["tree"] = "deep"
        elif one["tree"] != universe():
            answer["tree"] = one["tree"]
        if one["files"]:
            answer["files"] = {name: as_text(text) for name, text in one["files"].items()}
        if one["policies"]:
            answer["policies"] = one["policies"]
        out.append(answer)
        if one["root"]:
            answer["asked_as_root"] = True
            again, message = listed(kopia, top, path)
            if again is None:
                assert answer.get("bad_directories") == [""], (one["name"], message, answer)
            elif sorted(again) != answer["kept"]:
                answer["kept_as_root"] = sorted(again)
                print("differs as root:", one["name"], set(again) ^ set(answer["kept"]), file=sys.stderr)
    return out


def as_text(text):
    """Text as it is; long text as runs of one character, other bytes in base64."""
    if len(text) > 1000:
        return {"runs": [[char, len(list(run))] for char, run in itertools.groupby(text.decode())]}
    try:
        return text.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(text).decode()}


def main():
    cases = list(at_random(int(sys.argv[1]), int(sys.argv[2]))) if len(sys.argv) > 2 else [*by_hand(), *at_random(1, 400)]
    with tempfile.TemporaryDirectory() as folder:
        answers = ask(folder, cases)
    text = "[\n" + ",\n".join(json.dumps(answer, ensure_ascii=False) for answer in answers) + "\n]\n"
    trees = json.dumps({"usual": universe(), "stars": tree_of_stars(), "deep": deep_tree()}, ensure_ascii=False)
    text = f'{{"trees": {trees},\n"cases": {text}}}\n'
    if len(sys.argv) > 2:
        sys.stdout.write(text)
    else:
        with open(f"{HERE}/cases.json", "w") as file:
            file.write(text)


if __name__ == "__main__":
    main()

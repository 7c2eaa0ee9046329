//! The pattern room: one ignore rule, and which paths it matches.
//!
//! | in a rule               | means                                                                                     |
//! |-------------------------|-------------------------------------------------------------------------------------------|
//! | `!` at the front        | what matches is not ignored after all                                                     |
//! | `/` at the end          | only directories match                                                                    |
//! | `/` elsewhere           | the rule matches from the directory it is for; without one, from any directory below; so  |
//! |                         | does a rule that begins with `**`                                                         |
//! | `?`                     | one character, no slash                                                                   |
//! | `*`                     | any number of characters, no slash; but if not none, then one slash may end them (sic)    |
//! | `**` alone between `/`  | any number of directories; at the end, everything below                                   |
//! | `[ab]`, `[a-c]`         | one of the characters, a slash too if named                                               |
//! | `[!ab]`                 | any other character, a slash too (sic); `^` at this place is an ordinary character        |
//! | `[[:alpha:]]`           | a character of the named class                                                            |
//! | `\`                     | makes the next character an ordinary one, within brackets too                             |
//! | zero byte               | ends the rule                                                                             |
//!
//! One thing is known to differ: `/**x[[:alpha:]]`, a rooted rule in which two stars that are not alone between slashes come
//! some way before a named class, matches nothing in Kopia.

use crate::FormatError;

/// One ignore rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    negated: bool,
    directories_only: bool,
    tokens: Vec<Token>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Literal(char),
    /// `/`, not escaped
    Slash,
    /// `?`
    One,
    /// `*`
    Star,
    /// `**` before a slash, at the front or after a slash: any number of directories. Always followed by the slash.
    Directories,
    /// `**` at the end: anything.
    Rest,
    /// `[...]`
    Set {
        negated: bool,
        members: Vec<Member>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Member {
    Range(char, char),
    Class(Class),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Alnum,
    Alpha,
    Blank,
    Cntrl,
    Digit,
    Graph,
    Lower,
    Print,
    Punct,
    Space,
    Upper,
    Xdigit,
}

impl Pattern {
    /// Reads a rule. Blanks around it do not count, except behind a backslash and, as in Kopia, at the end of a rule of
    /// two bytes.
    ///
    /// # Errors
    /// [`FormatError::BadIgnoreRule`] for a backslash at the end, brackets that are not closed, and unknown classes.
    pub fn parse(rule: &[u8]) -> Result<Self, FormatError> {
        let bad = |reason| FormatError::BadIgnoreRule {
            rule: String::from_utf8_lossy(rule).chars().take(80).collect(),
            reason,
        };
        let chars = chars_of(rule);
        let mut text = &chars[..];
        while let [first, rest @ ..] = text
            && first.is_whitespace()
        {
            text = rest;
        }
        if rule.len() > 2 && rule[rule.len() - 2] != b'\\' {
            while let [rest @ .., last] = text
                && last.is_whitespace()
            {
                text = rest;
            }
        }
        let (negated, text) = strip_first(text, '!');
        let (rooted, text) = strip_first(text, '/');
        let (directories_only, text) = match text {
            [rest @ .., '/'] => (true, rest),
            _ => (false, text),
        };
        let mut tokens = Vec::new();
        if !text.is_empty() {
            if !rooted && (!text.contains(&'/') || (!negated && text.starts_with(&['*', '*']))) {
                tokens = vec![Token::Directories, Token::Slash];
            }
            let at_front = rooted || !negated;
            tokens.extend(Parser { rest: text }.run(at_front).map_err(bad)?);
        }
        Ok(Self {
            negated,
            directories_only,
            tokens,
        })
    }

    /// Whether the rule brings back what it matches (`!`).
    pub fn is_negated(&self) -> bool {
        self.negated
    }

    /// Whether the rule matches a path relative to the directory the rule is for. Time grows with the product of the
    /// lengths of rule and path at most, memory with the length of the path.
    ///
    /// Kopia tries one way after the other and gives some of them up early; the outcomes below say which. They are worked
    /// out from the end of the rule to its front, for all places in the path at once.
    pub fn matches(&self, path: &[char], is_dir: bool) -> bool {
        if (self.directories_only && !is_dir) || self.tokens.is_empty() || !self.may_end_with(path.last()) {
            return false;
        }
        let mut row: Vec<Outcome> = vec![Outcome::Mismatch; path.len() + 1];
        row[path.len()] = Outcome::Match;
        let mut after_next = row.clone();
        let mut next = row.clone();
        for (number, token) in self.tokens.iter().enumerate().rev() {
            std::mem::swap(&mut after_next, &mut next);
            std::mem::swap(&mut next, &mut row);
            let is_last = number + 1 == self.tokens.len();
            match token {
                Token::Star if is_last => last_star(path, &mut row),
                Token::Star => {
                    let before_slash = self.tokens[number + 1] == Token::Slash;
                    star(path, before_slash, &next, &mut row);
                }
                Token::Directories => directories(&next, &after_next, &mut row),
                Token::Rest => row.fill(Outcome::Match),
                token => {
                    for (at, char) in path.iter().enumerate() {
                        row[at] = if token.takes(*char) {
                            next[at + 1]
                        } else {
                            Outcome::Mismatch
                        };
                    }
                    row[path.len()] = Outcome::GiveUp;
                }
            }
        }
        row[0] == Outcome::Match
    }

    /// Most rules end in a letter that few paths end in: saves the search.
    fn may_end_with(&self, last: Option<&char>) -> bool {
        match self.tokens.last() {
            Some(Token::Literal(literal)) => last == Some(literal),
            _ => true,
        }
    }
}

/// How the rest of a rule fares with the rest of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Match,
    /// No; stars further to the front may try longer runs.
    Mismatch,
    /// A star would have to run over a slash: of the stars further to the front only `**` may try longer runs.
    Slash,
    /// The path is used up before the rule is: longer runs are not tried.
    GiveUp,
}

/// `*` at the end of a rule.
fn last_star(path: &[char], row: &mut [Outcome]) {
    let last_slash = path.iter().rposition(|char| *char == '/');
    for (at, outcome) in row.iter_mut().enumerate() {
        *outcome = if last_slash.is_some_and(|slash| at <= slash) {
            Outcome::Mismatch
        } else {
            Outcome::Match
        };
    }
}

/// `*` before other tokens, whose outcomes are in `next`.
///
/// What follows the star is tried after no character, after each one that is no slash, and once after the first slash if
/// that is not the first character of the run. Meeting a slash ends the run; only if the rule has a slash at this place
/// may other stars go on then.
fn star(path: &[char], before_slash: bool, next: &[Outcome], row: &mut [Outcome]) {
    let slash = if before_slash {
        Outcome::Mismatch
    } else {
        Outcome::Slash
    };
    row[path.len()] = Outcome::GiveUp;
    // What comes of a run that has begun and may go on from this place.
    let mut going_on = Outcome::GiveUp;
    for (at, char) in path.iter().enumerate().rev() {
        let (run, first) = match (*char, next.get(at + 1)) {
            ('/', Some(Outcome::Mismatch)) if at + 1 < path.len() => (slash, slash),
            ('/', Some(after_slash)) => (*after_slash, slash),
            _ => (going_on, going_on),
        };
        let here = next[at];
        (going_on, row[at]) = if here == Outcome::Mismatch {
            (run, first)
        } else {
            (here, here)
        };
    }
}

/// `**` before a slash, whose outcomes are in `next`; those of what follows the slash are in `after_next`.
fn directories(next: &[Outcome], after_next: &[Outcome], row: &mut [Outcome]) {
    let mut going_on = Outcome::GiveUp;
    let end = row.len() - 1;
    for at in (0..=end).rev() {
        if at < end && matches!(next[at], Outcome::Match | Outcome::GiveUp) {
            going_on = next[at];
        }
        row[at] = if after_next[at] == Outcome::Match {
            Outcome::Match
        } else {
            going_on
        };
    }
}

struct Parser<'a> {
    rest: &'a [char],
}

impl Parser<'_> {
    /// Reads all tokens; `at_front` says whether `**` may stand for directories here. (Kopia looks at the character
    /// before it, which is the `!` in `!**/a`.)
    fn run(mut self, mut at_front: bool) -> Result<Vec<Token>, &'static str> {
        let mut tokens = Vec::new();
        while let Some(char) = self.next().filter(|char| *char != '\0') {
            let token = match char {
                '\\' => Token::Literal(self.next().ok_or("it ends in a backslash")?),
                '?' => Token::One,
                '*' => self.stars(at_front),
                '[' => self.set()?,
                '/' => Token::Slash,
                char => Token::Literal(char),
            };
            at_front = char == '/';
            tokens.push(token);
        }
        Ok(tokens)
    }

    fn next(&mut self) -> Option<char> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    /// What a run of stars means, of which the first has been taken.
    fn stars(&mut self, at_front: bool) -> Token {
        let more = self.rest.iter().take_while(|char| **char == '*').count();
        self.rest = &self.rest[more..];
        match self.rest.first() {
            Some('/') if at_front && more > 0 => Token::Directories,
            None if at_front && more > 0 => Token::Rest,
            _ => Token::Star,
        }
    }

    /// The characters between brackets, of which the opening one has been taken.
    fn set(&mut self) -> Result<Token, &'static str> {
        const OPEN: &str = "its brackets are not closed";
        let (negated, rest) = strip_first(self.rest, '!');
        self.rest = rest;
        let mut members = Vec::new();
        loop {
            let first = match self.next().ok_or(OPEN)? {
                ']' => return Ok(Token::Set { negated, members }),
                '\0' => return Err(OPEN),
                '[' if self.rest.first() == Some(&':') => {
                    members.push(Member::Class(self.class()?));
                    continue;
                }
                '\\' => self.next().ok_or(OPEN)?,
                char => char,
            };
            let last = match self.rest {
                ['-', last, ..] if *last != ']' => {
                    self.rest = &self.rest[1..];
                    match self.next().ok_or(OPEN)? {
                        '\\' => self.next().ok_or(OPEN)?,
                        char => char,
                    }
                }
                _ => first,
            };
            members.push(Member::Range(first, last));
        }
    }

    /// A class such as `[:alpha:]`, of which the opening bracket has been taken.
    fn class(&mut self) -> Result<Class, &'static str> {
        let end = self.rest.windows(2).position(|pair| pair == [':', ']']);
        let end = end
            .filter(|end| *end > 0)
            .ok_or("a class in its brackets is not closed")?;
        let name: String = self.rest[1..end].iter().collect();
        self.rest = &self.rest[end + 2..];
        Ok(match name.as_str() {
            "alnum" => Class::Alnum,
            "alpha" => Class::Alpha,
            "blank" => Class::Blank,
            "cntrl" => Class::Cntrl,
            "digit" => Class::Digit,
            "graph" => Class::Graph,
            "lower" => Class::Lower,
            "print" => Class::Print,
            "punct" => Class::Punct,
            "space" => Class::Space,
            "upper" => Class::Upper,
            "xdigit" => Class::Xdigit,
            _ => return Err("it names an unknown class"),
        })
    }
}

impl Token {
    /// Whether a token that stands for one character stands for this one.
    fn takes(&self, char: char) -> bool {
        match self {
            Self::Literal(literal) => char == *literal,
            Self::Slash => char == '/',
            Self::One => char != '/',
            Self::Set { negated, members } => members.iter().any(|member| member.contains(char)) != *negated,
            Self::Star | Self::Directories | Self::Rest => false,
        }
    }
}

impl Member {
    fn contains(&self, char: char) -> bool {
        match self {
            Self::Range(first, last) => (*first..=*last).contains(&char),
            Self::Class(class) => class.contains(char),
        }
    }
}

impl Class {
    fn contains(self, char: char) -> bool {
        match self {
            Self::Alnum => char.is_alphanumeric(),
            Self::Alpha => char.is_alphabetic(),
            Self::Blank => matches!(char, ' ' | '\t'),
            Self::Cntrl => char.is_control(),
            Self::Digit => char.is_numeric(),
            Self::Graph => !char.is_control() && !char.is_whitespace(),
            Self::Lower => char.is_lowercase(),
            Self::Print => !char.is_control(),
            Self::Punct => char.is_ascii_punctuation(),
            Self::Space => char.is_whitespace(),
            Self::Upper => char.is_uppercase(),
            Self::Xdigit => char.is_ascii_hexdigit(),
        }
    }
}

/// The characters of a name or rule; each byte that is no part of valid UTF-8 counts as one U+FFFD.
pub(super) fn chars_of(bytes: &[u8]) -> Vec<char> {
    let mut chars = Vec::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        chars.extend(chunk.valid().chars());
        chars.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    chars
}

fn strip_first(text: &[char], char: char) -> (bool, &[char]) {
    match text.strip_prefix(&[char]) {
        Some(rest) => (true, rest),
        None => (false, text),
    }
}

//! Random text through the functions that read text, compared with the real Helm.
//!
//! Needs the built program of `oracle/sprig` in `ORACLE_SPRIG` and is skipped otherwise. `SPRIG_SEED` and `SPRIG_CASES`
//! choose the cases.

mod common;

use common::{Renderer, ask, outcome, shown};
use roadstead_sprig::Dialect;
use serde_json::{Value as Json, json};

/// A small generator: the cases must not hang on a library's version.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 11) as usize % bound.max(1)
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    /// Some of these pieces in a row.
    fn row(&mut self, pieces: &[&str], most: usize) -> String {
        let count = if pieces.is_empty() {
            0
        } else {
            self.below(most + 1)
        };
        (0..count).map(|_| self.pick(pieces)).collect()
    }
}

const WORDS: &[&str] = &[
    "a", "b", "Foo", "HTTP", "server", "X", "Y", "1", "23", "_", "-", " ", ".", "é", "Ü", "漢",
    "ß", "$", "+", "ǅ", "\t", "OK", "v2", "\u{a0}", "²", "٣",
];

const PATTERN: &[&str] = &[
    "a",
    "b",
    "x",
    ".",
    "*",
    "+",
    "?",
    "|",
    "(",
    ")",
    "(?:",
    "(?i)",
    "(?i:",
    "(?s)",
    "(?U)",
    "(?P<n>",
    "(?-i:",
    "[",
    "]",
    "[^",
    "-",
    "a-c",
    "\\d",
    "\\D",
    "\\w",
    "\\s",
    "\\b",
    "\\B",
    "\\A",
    "\\z",
    "^",
    "$",
    "(?m)",
    "{2}",
    "{1,3}",
    "{0}",
    "{",
    "}",
    ",",
    "\\pL",
    "\\p{Greek}",
    "\\P{Lu}",
    "[[:alpha:]]",
    "[:digit:]",
    "\\Q",
    "\\E",
    "\\x41",
    "\\x{e9}",
    "\\1",
    "\\07",
    "\\.",
    "é",
    "&&",
    "[a-c]",
    "[^b]",
    "(a|b)",
    "(ab)?",
    "\\",
    "\\n",
    "??",
    "*?",
];

const SUBJECT: &[&str] = &[
    "a", "b", "c", "x", "A", "B", "é", "1", " ", "\n", "α", ".", "&", "-", "ab",
];

const TOML: &[&str] = &[
    "a = 1\n",
    "b = \"x\"\n",
    "[t]\n",
    "[t.u]\n",
    "[[arr]]\n",
    "c = [1, 2]\n",
    "d = {x = 1}\n",
    "e.f = 2\n",
    "a",
    "=",
    "\n",
    "\"",
    "'",
    "[",
    "]",
    "{",
    "}",
    ",",
    ".",
    "1",
    "0x1F",
    "1e3",
    "true",
    "# c\n",
    "1979-05-27",
    "T07:32:00Z",
    "\"\"\"",
    "'''",
    "\\n",
    "\\u00e9",
    " ",
    "_",
    "inf",
    "-",
    "arr = 1\n",
    "x = [[1], [\"a\"]]\n",
    "é",
];

const LAYOUT: &[&str] = &[
    "2006", "06", "01", "1", "Jan", "January", "02", "2", "_2", "002", "15", "03", "3", "04", "4",
    "05", "5", "PM", "pm", "MST", "Z07:00", "-0700", "-07", ".000", ".999", "Mon", "Monday", " ",
    "-", ":", "T", "x", "/", ",", "_2006",
];

const TIME: &[&str] = &[
    "2020", "20", "01", "1", "Feb", "February", "29", "3", "366", "13", "00", "59", "5", "PM",
    "am", "EST", "UTC", "GMT+3", "+02:00", "-0700", ".123", ",5", "Mon", "Tuesday", " ", "-", ":",
    "T", "x", "/", "Z", "+01",
];

const SEMVER: &[&str] = &[
    "1", "2", "10", "0", "x", "*", ".", "-", "+", "alpha", "rc.1", "v", ">=", "<", "^", "~", "!=",
    "=", " ", ",", "||", " - ", "1.2", "1.2.3", "0.0", "01", "X", "|",
];

const URL: &[&str] = &[
    "http", "https", ":", "/", "//", "?", "#", "@", "[", "]", "::1", "a", "b.c", "80", "%41",
    "%zz", "%", "%25", " ", "é", "&", "=", "+", ";", "user", "*", "<", "\\", "fe80", "1.2.3.4",
    "mailto:", "~", "'", "(", "!",
];

const JSON: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"a\"",
    "\"\"",
    "1",
    "-",
    "0",
    ".5",
    "e3",
    "true",
    "false",
    "null",
    "nul",
    " ",
    "\n",
    "\"\\u00e9\"",
    "\"\\ud800\"",
    "\\",
    "\"",
    "x",
    "1.5",
    "1e400",
    "é",
    "{\"k\": 1}",
    "[1, 2]",
];

const NUMBER: &[&str] = &[
    "1", "0", "9", "-", "+", ".", "e", "E", "x", "0x", "0b", "0o", "_", "f", "p", "inf", "nan",
    "8", "123", ".0", "00", "h", "m", "s", "ms", "µs",
];

/// A template, and values for it.
fn case(chance: &mut Chance) -> (String, Json) {
    let family = chance.below(10);
    let mut with = |template: &str, pieces: &[&str], most: usize, others: &[&str]| {
        let s = chance.row(pieces, most);
        let t = chance.row(others, 8);
        let n = chance.below(12) as i64 - 2;
        (
            template.replace('N', &n.to_string()),
            json!({"s": s, "t": t}),
        )
    };
    match family {
        0 => with(
            "{{ snakecase .Values.s | quote }}|{{ kebabcase .Values.s | quote }}|{{ camelcase .Values.s | quote }}|{{ swapcase .Values.s | quote }}|{{ title .Values.s | quote }}|{{ untitle .Values.s | quote }}|{{ initials .Values.s | quote }}|{{ nospace .Values.s | quote }}|{{ upper .Values.s | quote }}|{{ lower .Values.s | quote }}",
            WORDS,
            10,
            &[],
        ),
        1 => with(
            "{{ wrap N .Values.s | quote }}|{{ wrapWith N .Values.t .Values.s | quote }}|{{ abbrev N .Values.s | quote }}|{{ abbrevboth N 8 .Values.s | quote }}|{{ trunc N .Values.s | quote }}|{{ replace .Values.t \"-\" .Values.s | quote }}|{{ splitList .Values.t .Values.s | toJson }}|{{ splitn .Values.t N .Values.s | toJson }}|{{ trimAll .Values.t .Values.s | quote }}",
            WORDS,
            16,
            &["a", " ", "", "é"],
        ),
        2 => with(
            "{{ mustRegexFindAll .Values.s .Values.t N | toJson }}",
            PATTERN,
            6,
            SUBJECT,
        ),
        3 => with(
            "{{ mustRegexReplaceAll .Values.s .Values.t \"<$0|$1|${n}>\" | quote }}|{{ mustRegexSplit .Values.s .Values.t N | toJson }}|{{ regexMatch .Values.s .Values.t }}",
            PATTERN,
            5,
            SUBJECT,
        ),
        4 => with("{{ fromToml .Values.s | toJson }}", TOML, 9, &[]),
        5 => with("{{ mustToDate .Values.s .Values.t }}", LAYOUT, 5, TIME),
        6 => with(
            "{{ $t := toDate \"2006-01-02T15:04:05Z07:00\" \"2020-02-29T23:05:09.0123+05:30\" }}{{ dateInZone .Values.s $t \"America/New_York\" | quote }}|{{ date .Values.s $t | quote }}",
            LAYOUT,
            8,
            &[],
        ),
        7 => with(
            "{{ semverCompare .Values.s \"1.2.3\" }}|{{ semverCompare .Values.s \"2.0.0-rc.1\" }}|{{ semverCompare .Values.s \"0.0.7\" }}|{{ semver .Values.t }}",
            SEMVER,
            7,
            &["1", ".", "2", "-a"],
        ),
        8 => with(
            "{{ $u := urlParse .Values.s }}{{ $u | toJson }}|{{ urlJoin $u | quote }}",
            URL,
            8,
            &[],
        ),
        _ => with(
            "{{ fromJson .Values.s | toJson }}|{{ fromJsonArray .Values.s | toJson }}|{{ int64 .Values.t }}|{{ float64 .Values.t }}|{{ atoi .Values.t }}|{{ toDecimal .Values.t }}|{{ durationRound .Values.t }}|{{ b64dec .Values.t | quote }}|{{ b32dec (upper .Values.t) | quote }}|{{ mustDateModify .Values.t (toDate \"2006\" \"2020\") }}",
            JSON,
            7,
            NUMBER,
        ),
    }
}

#[test]
fn random_text_gives_what_helm_gives() {
    let Ok(program) = std::env::var("ORACLE_SPRIG") else {
        eprintln!("skipped: ORACLE_SPRIG does not name the built oracle");
        return;
    };
    let number = |name: &str, default: u64| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    };
    let mut chance = Chance(number("SPRIG_SEED", 0x5EED).max(1));
    let count = number("SPRIG_CASES", 20_000);
    let cases: Vec<(String, Json)> = (0..count).map(|_| case(&mut chance)).collect();
    let requests: Vec<Json> = cases
        .iter()
        .map(|(template, values)| json!({"template": template, "data": values, "helm": 3}))
        .collect();
    let answers = ask(&program, &requests);
    let renderer = Renderer::new(Dialect::Helm3);
    let mut wrong = Vec::new();
    for ((template, values), answer) in cases.iter().zip(&answers) {
        let expected = outcome(answer);
        let found = renderer.render(template, values);
        if expected != found {
            wrong.push(format!(
                "{template} {values}\n  helm: {}\n  ours: {}",
                shown(&expected),
                shown(&found)
            ));
        }
    }
    eprintln!("{count} cases compared");
    assert!(
        wrong.is_empty(),
        "{} differ\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

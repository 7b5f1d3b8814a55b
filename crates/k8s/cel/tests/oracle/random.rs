//! Random expressions, most of them of sound types.

/// Numbers from a seed.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap_or_default()
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

/// Templates for each type: a letter after `%` stands for an expression of that type.
/// b bool, i int, u uint, d double, s string, y bytes, t timestamp, r duration, l list(int), m list(string), o object list,
/// p map(string, string), q quantity, w url, n ip, c cidr, e semver, x dyn, O optional(int), P optional(string)
fn templates(of: char) -> (&'static [&'static str], &'static [&'static str]) {
    match of {
        'b' => (
            &[
                "true",
                "false",
                "self.flag",
                "has(self.name)",
                "has(self.missing)",
                "has(self.spec.replicas)",
                "has(self.spec.absent)",
                "has(self.labels.app)",
            ],
            &[
                "%b && %b",
                "%b || %b",
                "!%b",
                "(%b ? %b : %b)",
                "%i == %i",
                "%i < %i",
                "%i <= %u",
                "%d > %i",
                "%u != %u",
                "%d == %d",
                "%s == %s",
                "%s < %s",
                "%s != %s",
                "%s.contains(%s)",
                "%s.startsWith(%s)",
                "%s.endsWith(%s)",
                "%s.matches(%R)",
                "%i in %l",
                "%s in %m",
                "%s in %p",
                "%i in [1, 2, 3]",
                "%s in ['a', 'b', 'web']",
                "%l.all(x, x > %i)",
                "%l.exists(x, x == %i)",
                "%m.all(x, x.size() < %i)",
                "%l.exists_one(x, x == %i)",
                "%m.exists(x, x == %s)",
                "%o.all(c, c.name != %s)",
                "%o.exists(c, c.port == %i)",
                "%o.exists(c, has(c.value) && c.value == %s)",
                "%p.all(k, k != %s)",
                "%l.all(i, v, i < v)",
                "%p.exists(k, v, v == %s)",
                "%l == %l",
                "%m == %m",
                "%p == %p",
                "%l.isSorted()",
                "%m.isSorted()",
                "sets.contains(%l, %l)",
                "sets.intersects(%m, %m)",
                "sets.equivalent(%l, %l)",
                "%t < %t",
                "%r >= %r",
                "%t == %t",
                "%y == %y",
                "isQuantity(%s)",
                "%q.isGreaterThan(%q)",
                "%q.isLessThan(%q)",
                "%q == %q",
                "%q.isInteger()",
                "isURL(%s)",
                "isIP(%s)",
                "isCIDR(%s)",
                "%n == %n",
                "%n.isLoopback()",
                "%c.containsIP(%n)",
                "%c.containsIP(%s)",
                "%c.containsCIDR(%c)",
                "isSemver(%s)",
                "%e.isLessThan(%e)",
                "%O.hasValue()",
                "%x == %x",
                "%x == %i",
                "type(%x) == int",
                "type(%x) == string",
                "self == oldSelf",
                "self.spec == oldSelf.spec",
                "self.set == oldSelf.set",
                "self.items == oldSelf.items",
                "%O == %O",
                "format.dns1123Label().validate(%s).hasValue()",
                "!format.named(%s).hasValue()",
                "%w == %w",
                "dyn(%i) == %x",
                "%x > 1",
                "%x.startsWith('a')",
            ],
        ),
        'i' => (
            &[
                "0",
                "1",
                "2",
                "3",
                "-1",
                "7",
                "42",
                "9223372036854775807",
                "-9223372036854775808",
                "self.count",
                "self.spec.replicas",
                "self.list[0]",
                "self.list[5]",
                "self.nested.deep.number",
            ],
            &[
                "%i + %i",
                "%i - %i",
                "%i * %i",
                "%i / %i",
                "%i % %i",
                "-(%i)",
                "(%b ? %i : %i)",
                "%s.size()",
                "size(%l)",
                "%m.size()",
                "size(%p)",
                "%l.sum()",
                "%l.max()",
                "%l.min()",
                "%l.indexOf(%i)",
                "%m.lastIndexOf(%s)",
                "%s.indexOf(%s)",
                "%s.lastIndexOf(%s)",
                "int(%s)",
                "int(%d)",
                "int(%u)",
                "int(%t)",
                "%l[%i]",
                "%l[0]",
                "%t.getFullYear()",
                "%t.getHours('Europe/Berlin')",
                "%t.getDayOfWeek()",
                "%r.getSeconds()",
                "%O.orValue(%i)",
                "%l[?%i].orValue(%i)",
                "%q.sign()",
                "%q.compareTo(%q)",
                "%n.family()",
                "%c.prefixLength()",
                "%e.major()",
                "%y.size()",
                "%o.size()",
                "%o[0].port",
                "%o.map(c, c.port).sum()",
                "%q.asInteger()",
            ],
        ),
        'u' => (
            &["0u", "1u", "7u", "18446744073709551615u"],
            &[
                "%u + %u",
                "%u - %u",
                "%u * %u",
                "%u / %u",
                "uint(%i)",
                "uint(%s)",
                "uint(%d)",
                "(%b ? %u : %u)",
            ],
        ),
        'd' => (
            &["0.0", "1.5", "-2.25", "1e10", "self.ratio", "1e308"],
            &[
                "%d + %d",
                "%d - %d",
                "%d * %d",
                "%d / %d",
                "-(%d)",
                "double(%i)",
                "double(%s)",
                "double(%u)",
                "(%b ? %d : %d)",
                "%q.asApproximateFloat()",
                "[%d, %d].max()",
            ],
        ),
        's' => (
            &[
                "''",
                "'a'",
                "'b'",
                "'web'",
                "'a-b.c'",
                "'1'",
                "'42'",
                "'ä€'",
                "'10.0.0.1'",
                "'10.0.0.0/8'",
                "'1.2.3'",
                "'1Gi'",
                "'https://x.io/a?b=c'",
                "self.name",
                "self.kindName",
                "self.labels.app",
                "self.labels['tier']",
                "self.items[0].name",
                "oldSelf.name",
                "self.tags[0]",
            ],
            &[
                "%s + %s",
                "string(%i)",
                "string(%d)",
                "string(%u)",
                "string(%b)",
                "string(%t)",
                "string(%r)",
                "%s.lowerAscii()",
                "%s.upperAscii()",
                "%s.trim()",
                "%s.replace(%s, %s)",
                "%s.substring(%i)",
                "%s.substring(0, %i)",
                "%s.charAt(%i)",
                "%m.join(%s)",
                "%m.join()",
                "%s.split(%s)[0]",
                "(%b ? %s : %s)",
                "%m[%i]",
                "%p[%s]",
                "%s.find(%R)",
                "strings.quote(%s)",
                "'%%s and %%d'.format([%s, %i])",
                "'%%x'.format([%i])",
                "'%%.2f'.format([%d])",
                "'%%s'.format([%l])",
                "'%%s'.format([%p])",
                "%w.getHost()",
                "%w.getScheme()",
                "%w.getEscapedPath()",
                "string(%n)",
                "string(%c)",
                "%P.orValue(%s)",
                "%p[?%s].orValue(%s)",
                "self.?labels.?app.orValue(%s)",
                "%m.max()",
                "%m.min()",
                "%o[0].name",
            ],
        ),
        'y' => (
            &["b''", "b'abc'", "b'\\x00\\xff'", "self.blob"],
            &["%y + %y", "bytes(%s)", "(%b ? %y : %y)"],
        ),
        't' => (
            &[
                "timestamp('2024-02-29T12:30:45.5Z')",
                "timestamp('1999-12-31T23:59:59+05:30')",
                "self.when",
                "timestamp(0)",
            ],
            &["%t + %r", "%t - %r", "timestamp(%i)", "(%b ? %t : %t)"],
        ),
        'r' => (
            &[
                "duration('1h')",
                "duration('90s')",
                "duration('-1.5s')",
                "self.wait",
                "duration('1ns')",
            ],
            &[
                "%r + %r",
                "%r - %r",
                "%t - %t",
                "(%b ? %r : %r)",
                "[%r, %r].sum()",
            ],
        ),
        'l' => (
            &[
                "[]",
                "[1]",
                "[1, 2, 3]",
                "[3, 1, 2]",
                "self.list",
                "self.set",
                "oldSelf.list",
            ],
            &[
                "[%i]",
                "[%i, %i]",
                "%l + %l",
                "%l.map(x, x + %i)",
                "%l.filter(x, x > %i)",
                "%l.map(x, x > %i, x * 2)",
                "(%b ? %l : %l)",
                "%l.sort()",
                "%l.reverse()",
                "%l.distinct()",
                "%l.slice(0, %i)",
                "lists.range(3)",
                "[%l, %l].flatten()",
                "%o.map(c, c.port)",
                "%l.transformList(i, v, i + v)",
                "%m.map(x, x.size())",
                "[?%O]",
                "%l.sortBy(x, -x)",
                "%l.transformList(i, v, i > 0, v)",
            ],
        ),
        'm' => (
            &[
                "['a']",
                "['a', 'b', 'web']",
                "self.tags",
                "oldSelf.tags",
                "['b', 'a']",
            ],
            &[
                "[%s]",
                "[%s, %s]",
                "%m + %m",
                "%m.map(x, x + %s)",
                "%m.filter(x, x != %s)",
                "%s.split(%s)",
                "%s.findAll(%R)",
                "(%b ? %m : %m)",
                "%m.sort()",
                "%m.reverse()",
                "%m.distinct()",
                "%o.map(c, c.name)",
                "%p.map(k, k)",
                "%p.transformList(k, v, k + v)",
                "[%s, ?%P]",
                "%s.split(%s, 2)",
            ],
        ),
        'o' => (
            &["self.items", "oldSelf.items"],
            &[
                "%o.filter(c, c.port > %i)",
                "(%b ? %o : %o)",
                "self.items + oldSelf.items",
            ],
        ),
        'p' => (
            &["{'a': 'x'}", "self.labels", "oldSelf.labels"],
            &[
                "{%s: %s}",
                "{%s: %s, 'k': %s}",
                "(%b ? %p : %p)",
                "%p.transformMap(k, v, v + %s)",
                "%p.transformMap(k, v, k != %s, v)",
                "{?'a': %P}",
                "%m.transformMapEntry(i, v, {v: string(i)})",
            ],
        ),
        'q' => (
            &[
                "quantity('1')",
                "quantity('1Gi')",
                "quantity('500m')",
                "quantity('-2.5')",
                "quantity('1e3')",
                "quantity(self.size)",
            ],
            &["%q.add(%q)", "%q.sub(%q)", "%q.add(%i)", "quantity(%s)"],
        ),
        'w' => (
            &[
                "url('https://user@example.com:80/a%20b?x=1&y=2')",
                "url('/path')",
                "url(self.link)",
            ],
            &["url(%s)"],
        ),
        'n' => (
            &["ip('10.0.0.1')", "ip('::1')", "ip('127.0.0.1')"],
            &["ip(%s)", "%c.ip()"],
        ),
        'c' => (
            &["cidr('10.0.0.0/8')", "cidr('fd00::/64')"],
            &["cidr(%s)", "%c.masked()"],
        ),
        'e' => (
            &[
                "semver('1.2.3')",
                "semver('2.0.0-rc.1')",
                "semver('v1', true)",
            ],
            &["semver(%s)"],
        ),
        'x' => (
            &[
                "self.port",
                "self.altPort",
                "dyn(1)",
                "dyn('a')",
                "dyn(null)",
                "dyn(1.0)",
            ],
            &["dyn(%i)", "dyn(%s)", "dyn(%d)", "dyn(%l)", "(%b ? %x : %x)"],
        ),
        'O' => (
            &[
                "optional.none()",
                "optional.of(1)",
                "self.spec.?replicas",
                "self.spec.?absent",
            ],
            &[
                "optional.of(%i)",
                "optional.ofNonZeroValue(%i)",
                "%O.or(%O)",
                "%l[?%i]",
                "%O.optMap(v, v + %i)",
                "%O.optFlatMap(v, optional.of(v))",
                "%l.first()",
                "%l.last()",
            ],
        ),
        'P' => (
            &["self.?name", "self.labels[?'app']", "self.?labels.missing"],
            &["optional.of(%s)", "%p[?%s]", "%P.or(%P)", "%m.first()"],
        ),
        _ => (&["'a'"], &["'a'"]),
    }
}

fn fill(rng: &mut Rng, of: char, depth: usize, out: &mut String) {
    if of == 'R' {
        out.push_str(rng.pick(&[
            "'a'",
            "'^[a-z]+$'",
            "'[0-9]{1,3}'",
            "'(a|b)*'",
            "'\\\\d+'",
            "'.'",
            "''",
            "'x?y'",
            "self.name",
        ]));
        return;
    }
    // a wrong type now and then
    let of = if rng.below(60) == 0 {
        ['b', 'i', 's', 'd', 'l', 'x'][rng.below(6)]
    } else {
        of
    };
    let (leaves, nodes) = templates(of);
    if depth == 0 || rng.below(4) == 0 {
        out.push_str(rng.pick(leaves));
        return;
    }
    let template = rng.pick(nodes);
    let operator = template.starts_with('%') && template.contains(' ');
    if operator {
        out.push('(');
    }
    let mut chars = template.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek().copied()) {
            ('%', Some('%')) => {
                chars.next();
                out.push('%');
            }
            ('%', Some(next)) if next.is_ascii_alphabetic() => {
                chars.next();
                fill(rng, next, depth - 1, out);
            }
            _ => out.push(c),
        }
    }
    if operator {
        out.push(')');
    }
}

/// The expression of a seed.
pub(crate) fn expression(seed: u64) -> String {
    let mut rng = Rng(seed);
    let mut out = String::new();
    let of = [
        'b', 'b', 'b', 'i', 's', 'd', 'l', 'm', 'p', 'q', 't', 'r', 'O', 'x', 'u',
    ][rng.below(15)];
    let depth = 1 + rng.below(4);
    fill(&mut rng, of, depth, &mut out);
    out
}

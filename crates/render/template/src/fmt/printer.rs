//! Values under a verb.

use super::format::{Flags, LOWER, Layout, UPPER};
use crate::error::Limit;
use crate::text::Str;
use crate::types::{Kind, Type};
use crate::value::{Field, Int, List, MAX_DEPTH, Map, Object, Underlying, Value};

/// Where everything lies, as far as templates can print it: a real address would make each render another one.
const ADDRESS: u64 = 0xc0_0000_0000;

pub(super) struct Printer {
    pub(super) layout: Layout,
    max: usize,
    erroring: bool,
    stopped: Option<Limit>,
}

impl Printer {
    pub(super) fn new(out: Vec<u8>, max: usize) -> Self {
        Self {
            layout: Layout {
                out,
                flags: Flags::default(),
            },
            max,
            erroring: false,
            stopped: None,
        }
    }

    pub(super) fn finish(self) -> Result<Vec<u8>, Limit> {
        let (text, result) = self.into_parts();
        result.map(|()| text)
    }

    pub(super) fn into_parts(mut self) -> (Vec<u8>, Result<(), Limit>) {
        self.check();
        (self.layout.out, self.stopped.map_or(Ok(()), Err))
    }

    /// Whether to go on.
    pub(super) fn check(&mut self) -> bool {
        if self.layout.out.len() > self.max {
            self.stopped.get_or_insert(Limit::String(self.max));
        }
        self.stopped.is_none()
    }

    pub(super) fn write(&mut self, text: &[u8]) {
        self.layout.out.extend_from_slice(text);
    }

    pub(super) fn print(&mut self, args: &[Value]) {
        let mut after_string = false;
        for (index, arg) in args.iter().enumerate() {
            let is_string = arg.kind() == Kind::String;
            if index > 0 && !is_string && !after_string {
                self.write(b" ");
            }
            self.print_arg(arg, 'v');
            after_string = is_string;
        }
    }

    /// As [`Self::print`], with what Go's templates do to arguments before.
    pub(super) fn print_printable(&mut self, args: &[Value]) {
        let mut after_string = false;
        for (index, arg) in args.iter().enumerate() {
            let is_string = arg.is_untyped_nil() || arg.kind() == Kind::String;
            if index > 0 && !is_string && !after_string {
                self.write(b" ");
            }
            self.print_followed(arg);
            after_string = is_string;
        }
    }

    /// A value as an action prints it: what a pointer points to, without `&`.
    pub(super) fn print_followed(&mut self, value: &Value) {
        if value.is_untyped_nil() {
            return self.write(b"<no value>");
        }
        if let Value::Object(object) = value
            && !object.is_nil()
            && object.string().is_none()
            && let Some(name) = object.type_name().strip_prefix('*')
        {
            return self.inside(name, object.underlying(), value, 'v', 0);
        }
        self.print_arg(value, 'v');
    }

    pub(super) fn println(&mut self, args: &[Value]) {
        for (index, arg) in args.iter().enumerate() {
            if index > 0 {
                self.write(b" ");
            }
            self.print_arg(arg, 'v');
        }
        self.write(b"\n");
    }

    fn bad_verb(&mut self, verb: char, value: Option<&Value>) {
        self.erroring = true;
        self.write(b"%!");
        crate::strconv::append_rune(&mut self.layout.out, u32::from(verb));
        self.write(b"(");
        match value {
            Some(value) if !value.is_untyped_nil() => {
                self.write(value.type_name().as_bytes());
                self.write(b"=");
                self.print_any(value, 'v', 0, true);
            }
            _ => self.write(b"<nil>"),
        }
        self.write(b")");
        self.erroring = false;
    }

    /// One argument of a print function.
    pub(super) fn print_arg(&mut self, value: &Value, verb: char) {
        if !self.check() {
            return;
        }
        if value.is_untyped_nil() {
            match verb {
                'T' | 'v' => self.layout.pad(b"<nil>"),
                _ => self.bad_verb(verb, None),
            }
            return;
        }
        match verb {
            'T' => self.layout.string(value.type_name().as_bytes()),
            'p' => self.pointer(value, 'p'),
            _ => self.print_any(value, verb, 0, true),
        }
    }

    /// A value at some depth; `methods` says whether its methods may be called.
    fn print_any(&mut self, value: &Value, verb: char, depth: usize, methods: bool) {
        if !self.check() {
            return;
        }
        if depth > MAX_DEPTH {
            self.stopped = Some(Limit::Depth(MAX_DEPTH));
            return;
        }
        if verb == 'w' && !self.erroring && methods {
            // only Errorf knows this verb, and only for errors
            let bytes =
                matches!(value, Value::List(list) if depth == 0 && list.ty() == Type::BYTES);
            if matches!(value, Value::List(_) | Value::Map(_) | Value::Object(_)) && !bytes {
                return self.bad_verb(verb, Some(value));
            }
        }
        match value {
            Value::Invalid | Value::Nil if depth == 0 => self.bad_verb(verb, None),
            Value::Invalid | Value::Nil if self.layout.flags.sharp_v => {
                self.write(b"interface {}(nil)")
            }
            Value::Invalid | Value::Nil => self.write(b"<nil>"),
            Value::Bool(inner) => match verb {
                't' | 'v' => self.layout.boolean(*inner),
                _ => self.bad_verb(verb, Some(value)),
            },
            Value::Int(int) => self.integer(*int, verb, value),
            Value::Float(inner) => self.float(*inner, verb, value),
            Value::Complex(re, im) => self.complex(*re, *im, verb, value),
            Value::Str(text) => self.string(text, verb, value),
            Value::List(list) => self.list(list, list.ty(), verb, depth),
            Value::Map(map) => self.map(map, map.ty(), verb, depth),
            Value::Object(object) => self.object(&**object, value, verb, depth, methods),
        }
    }

    fn integer(&mut self, int: Int, verb: char, value: &Value) {
        let (bits, signed) = (int.as_u64(), int.kind().is_signed());
        let layout = &mut self.layout;
        match verb {
            'v' if layout.flags.sharp_v && !signed => self.hex_number(bits, true),
            'v' | 'd' => layout.integer(bits, 10, signed, verb, LOWER),
            'b' => layout.integer(bits, 2, signed, verb, LOWER),
            'o' | 'O' => layout.integer(bits, 8, signed, verb, LOWER),
            'x' => layout.integer(bits, 16, signed, verb, LOWER),
            'X' => layout.integer(bits, 16, signed, verb, UPPER),
            'c' => layout.character(bits),
            'q' => layout.quoted_character(bits),
            'U' => layout.unicode(bits),
            _ => self.bad_verb(verb, Some(value)),
        }
    }

    fn hex_number(&mut self, value: u64, prefix: bool) {
        let sharp = std::mem::replace(&mut self.layout.flags.sharp, prefix);
        self.layout.integer(value, 16, false, 'v', LOWER);
        self.layout.flags.sharp = sharp;
    }

    fn float(&mut self, inner: f64, verb: char, value: &Value) {
        match verb {
            'v' => self.layout.float(inner, b'g', -1),
            'b' | 'g' | 'G' | 'x' | 'X' => self.layout.float(inner, verb as u8, -1),
            'f' | 'e' | 'E' => self.layout.float(inner, verb as u8, 6),
            'F' => self.layout.float(inner, b'f', 6),
            _ => self.bad_verb(verb, Some(value)),
        }
    }

    fn complex(&mut self, re: f64, im: f64, verb: char, value: &Value) {
        if !matches!(
            verb,
            'v' | 'b' | 'g' | 'G' | 'x' | 'X' | 'f' | 'F' | 'e' | 'E'
        ) {
            return self.bad_verb(verb, Some(value));
        }
        let plus = self.layout.flags.plus;
        self.write(b"(");
        self.float(re, verb, value);
        self.layout.flags.plus = true;
        self.float(im, verb, value);
        self.write(b"i)");
        self.layout.flags.plus = plus;
    }

    fn string(&mut self, text: &[u8], verb: char, value: &Value) {
        match verb {
            'v' if self.layout.flags.sharp_v => self.layout.quoted(text),
            'v' | 's' => self.layout.string(text),
            'x' => self.layout.hex(text, LOWER),
            'X' => self.layout.hex(text, UPPER),
            'q' => self.layout.quoted(text),
            _ => self.bad_verb(verb, Some(value)),
        }
    }

    fn separator(&mut self, index: usize) {
        if index > 0 {
            self.write(if self.layout.flags.sharp_v {
                b", "
            } else {
                b" "
            });
        }
    }

    fn list(&mut self, list: &List, ty: Type, verb: char, depth: usize) {
        if let Some(bytes) = list.as_bytes() {
            let plain = depth == 0 && ty == Type::BYTES;
            match verb {
                's' => return self.layout.string(&bytes),
                'x' => return self.layout.hex(&bytes, LOWER),
                'X' => return self.layout.hex(&bytes, UPPER),
                'q' => return self.layout.quoted(&bytes),
                'v' | 'd' if plain => return self.bytes(list, &bytes, verb),
                _ => {}
            }
        }
        let sharp = self.layout.flags.sharp_v;
        if sharp {
            self.write(ty.to_string().as_bytes());
            if list.is_nil() {
                return self.write(b"(nil)");
            }
        }
        self.write(if sharp { b"{" } else { b"[" });
        for (index, item) in list.items().iter().enumerate() {
            self.separator(index);
            self.print_any(item, verb, depth + 1, true);
            if self.stopped.is_some() {
                return;
            }
        }
        self.write(if sharp { b"}" } else { b"]" });
    }

    fn bytes(&mut self, list: &List, bytes: &Str, verb: char) {
        let sharp = self.layout.flags.sharp_v;
        if sharp {
            self.write(b"[]byte");
            if list.is_nil() {
                return self.write(b"(nil)");
            }
        }
        self.write(if sharp { b"{" } else { b"[" });
        for (index, byte) in bytes.iter().enumerate() {
            self.separator(index);
            if sharp {
                self.hex_number(u64::from(*byte), true);
            } else {
                self.layout
                    .integer(u64::from(*byte), 10, false, verb, LOWER);
            }
            if !self.check() {
                return;
            }
        }
        self.write(if sharp { b"}" } else { b"]" });
    }

    fn map(&mut self, map: &Map, ty: Type, verb: char, depth: usize) {
        let sharp = self.layout.flags.sharp_v;
        if sharp {
            self.write(ty.to_string().as_bytes());
            if map.is_nil() {
                return self.write(b"(nil)");
            }
        }
        self.write(if sharp { b"{" } else { b"map[" });
        map.with(|entries| {
            for (index, (key, value)) in entries.iter().enumerate() {
                self.separator(index);
                self.string(key, verb, &Value::Str(key.clone()));
                self.write(b":");
                self.print_any(value, verb, depth + 1, true);
                if self.stopped.is_some() {
                    return;
                }
            }
        });
        self.write(if sharp { b"}" } else { b"]" });
    }

    fn fields(&mut self, name: &str, fields: &[Field], verb: char, depth: usize) {
        let flags = self.layout.flags;
        if flags.sharp_v {
            self.write(name.as_bytes());
        }
        self.write(b"{");
        for (index, field) in fields.iter().enumerate() {
            self.separator(index);
            if flags.plus_v || flags.sharp_v {
                self.write(field.name.as_bytes());
                self.write(b":");
            }
            self.print_any(&field.value, verb, depth + 1, field.exported);
        }
        self.write(b"}");
    }

    fn object(
        &mut self,
        object: &dyn Object,
        value: &Value,
        verb: char,
        depth: usize,
        methods: bool,
    ) {
        if methods
            && !self.erroring
            && !self.layout.flags.sharp_v
            && matches!(verb, 'v' | 's' | 'x' | 'X' | 'q')
            && let Some(text) = object.string()
        {
            if object.is_nil() {
                return self.write(b"<nil>");
            }
            return self.string(text.as_bytes(), verb, value);
        }
        let name = object.type_name();
        let pointee = name.strip_prefix('*');
        let underlying = object.underlying();
        if pointee.is_some() {
            let look_inside = matches!(
                underlying,
                Underlying::Struct(_) | Underlying::Map(_) | Underlying::List(_)
            );
            if depth > 0 || object.is_nil() || !look_inside {
                return self.pointer(value, verb);
            }
            self.write(b"&");
        }
        self.inside(
            pointee.unwrap_or(name),
            underlying,
            value,
            verb,
            depth + usize::from(pointee.is_some()),
        );
    }

    /// What an object is made of, under the name of its type.
    fn inside(
        &mut self,
        name: &'static str,
        what: Underlying,
        value: &Value,
        verb: char,
        depth: usize,
    ) {
        let ty = Type::Object(name);
        match what {
            Underlying::Struct(fields) => self.fields(name, &fields, verb, depth),
            Underlying::Map(map) => self.map(&map, ty, verb, depth),
            Underlying::List(list) => self.list(&list, ty, verb, depth),
            Underlying::Str(text) => self.string(&text, verb, value),
            Underlying::Int(int) => self.integer(int, verb, value),
            Underlying::Float(inner) => self.float(inner, verb, value),
            Underlying::Bool(inner) => match verb {
                't' | 'v' => self.layout.boolean(inner),
                _ => self.bad_verb(verb, Some(value)),
            },
            Underlying::Func => self.pointer(value, verb),
        }
    }

    /// What Go prints of an address.
    fn pointer(&mut self, value: &Value, verb: char) {
        let nil = match value {
            Value::Map(map) => map.is_nil(),
            Value::List(list) => list.is_nil(),
            Value::Object(object)
                if matches!(
                    object.kind(),
                    Kind::Pointer | Kind::Func | Kind::Map | Kind::Slice
                ) =>
            {
                object.is_nil()
            }
            _ => return self.bad_verb(verb, Some(value)),
        };
        let address = if nil { 0 } else { ADDRESS };
        let sharp = self.layout.flags.sharp;
        match verb {
            'v' if self.layout.flags.sharp_v => {
                self.write(b"(");
                self.write(value.type_name().as_bytes());
                self.write(b")(");
                if address == 0 {
                    self.write(b"nil");
                } else {
                    self.hex_number(address, true);
                }
                self.write(b")");
            }
            'v' if address == 0 => self.layout.pad(b"<nil>"),
            'v' | 'p' => self.hex_number(address, !sharp),
            'b' => self.layout.integer(address, 2, false, verb, LOWER),
            'o' => self.layout.integer(address, 8, false, verb, LOWER),
            'd' => self.layout.integer(address, 10, false, verb, LOWER),
            'x' => self.layout.integer(address, 16, false, verb, LOWER),
            'X' => self.layout.integer(address, 16, false, verb, UPPER),
            _ => self.bad_verb(verb, Some(value)),
        }
    }
}

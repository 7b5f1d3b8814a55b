//! Functions that templates can call, and what functions can call in turn.

use std::fmt;

use crate::error::{Error, Limit};
use crate::host::Host;
use crate::limits::{Limits, Meter};
use crate::text::Str;
use crate::types::Type;
use crate::value::Value;

/// The parameters of a function, as its Go counterpart declares them. The machine checks and converts arguments by it,
/// with Go's error texts, so functions get what they declare and check no types themselves:
///
/// | parameter | what arrives |
/// |---|---|
/// | `Type::Any`, `Type::Reflect` | any value; a missing one as [`Value::Nil`] |
/// | `Type::Str` | [`Value::Str`] |
/// | `Type::Int(kind)` | [`Value::Int`] of that kind |
/// | `Type::Float64`, `Type::Bool` | [`Value::Float`], [`Value::Bool`] |
/// | `Type::Slice(..)` | [`Value::List`], perhaps a nil one |
/// | `Type::Map(..)` | [`Value::Map`], perhaps a nil one |
/// | `Type::Object(name)` | [`Value::Object`] of that type name (a pointer is followed); a nil pointer as [`Value::Nil`] |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    /// The parameters; of a variadic function, the last one is the type of *one* of the rest.
    pub params: &'static [Type],
    /// Whether the last parameter takes any number of arguments.
    pub variadic: bool,
}

impl Signature {
    /// Parameters without a variadic one.
    pub const fn fixed(params: &'static [Type]) -> Self {
        Self {
            params,
            variadic: false,
        }
    }

    /// Parameters, the last of which may come any number of times.
    pub const fn variadic(params: &'static [Type]) -> Self {
        Self {
            params,
            variadic: true,
        }
    }
}

/// What a function's result hangs on besides its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Purity {
    /// On nothing.
    #[default]
    Pure,
    /// On the clock.
    Clock,
    /// On randomness.
    Random,
    /// On randomness, at a price: keys, certificates, password hashes.
    Crypto,
    /// On a cluster or a network.
    Lookup,
}

/// A plain function: arguments that fit its signature to a value or an error.
pub type Native = fn(&mut Call<'_>, &[Value]) -> Result<Value, FuncError>;

/// A function that ends in the execution of a template: `include`, `tpl`.
pub type Calling = fn(&mut Call<'_>, &[Value]) -> Result<TemplateCall, FuncError>;

/// How a function does its work.
#[derive(Clone, Copy)]
pub enum Body {
    /// By itself.
    Native(Native),
    /// By having the machine execute a template, whose output is its result. The machine keeps the frames, so templates
    /// that call each other do not use the native stack.
    Template(Calling),
}

/// A function that templates can call: a row of a static table.
#[derive(Clone, Copy)]
pub struct Function {
    /// The name in templates.
    pub name: &'static str,
    /// Its parameters.
    pub signature: Signature,
    /// What its result hangs on.
    pub purity: Purity,
    /// What it does.
    pub body: Body,
}

impl Function {
    /// A pure function.
    pub const fn pure(name: &'static str, signature: Signature, native: Native) -> Self {
        Self {
            name,
            signature,
            purity: Purity::Pure,
            body: Body::Native(native),
        }
    }

    /// A function of the given purity.
    pub const fn native(
        name: &'static str,
        signature: Signature,
        purity: Purity,
        native: Native,
    ) -> Self {
        Self {
            name,
            signature,
            purity,
            body: Body::Native(native),
        }
    }

    /// Calls it outside any template, with arguments that already fit its signature.
    pub fn run(
        &self,
        host: &mut dyn Host,
        limits: &Limits,
        args: &[Value],
    ) -> Result<Value, FuncError> {
        let mut meter = Meter::new(*limits);
        let site = Site {
            file: "",
            offset: 0,
            ordinal: 0,
        };
        let mut call = Call {
            host,
            meter: &mut meter,
            function: self.name,
            site,
        };
        match self.body {
            Body::Native(native) => native(&mut call, args),
            Body::Template(_) => Err(FuncError::new(format!(
                "{} works in templates only",
                self.name
            ))),
        }
    }

    /// A function that executes a template.
    pub const fn template(name: &'static str, signature: Signature, calling: Calling) -> Self {
        Self {
            name,
            signature,
            purity: Purity::Pure,
            body: Body::Template(calling),
        }
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "func {}", self.name)
    }
}

/// A method of an [`crate::Object`], or of a map with a type of its own.
#[derive(Clone, Copy)]
pub struct Method {
    /// Its Go name.
    pub name: &'static str,
    /// Its parameters, without the receiver.
    pub signature: Signature,
    /// What it does with its receiver ([`Value::downcast`] gives the object) and its arguments.
    pub call: fn(&Value, &mut Call<'_>, &[Value]) -> Result<Value, FuncError>,
}

/// A template that a function wants executed.
pub struct TemplateCall {
    /// Which one.
    pub what: Callee,
    /// Its dot and `$`.
    pub data: Value,
    /// Makes the function's result of the output or the error. None: the output is the result, the error the error.
    pub then: Option<Then>,
}

/// Makes a function's result of what the executed template wrote, or of its error.
pub type Then = fn(&Callee, Result<Str, Box<Error>>) -> Result<Value, FuncError>;

/// Which template a function wants executed.
#[derive(Debug, Clone)]
pub enum Callee {
    /// One of the set by its name. The machine counts how deep each name nests and refuses more than
    /// [`crate::Limits::nesting`] with Helm's text.
    Name(Str),
    /// A text that is parsed under a name into a layer of its own on top of the set: what it defines is seen by what it
    /// executes and by nothing else.
    Text {
        /// The name of the template that the text becomes.
        name: Str,
        /// The text.
        text: Str,
    },
}

/// What a function sees of the machine that calls it.
pub struct Call<'a> {
    pub(crate) host: &'a mut dyn Host,
    pub(crate) meter: &'a mut Meter,
    pub(crate) function: &'a str,
    pub(crate) site: Site<'a>,
}

/// Where a call stands.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    /// The file that was parsed.
    pub file: &'a str,
    /// The byte offset of the call in it.
    pub offset: usize,
    /// How many function calls came before in this render: equal renders count alike.
    pub ordinal: u64,
}

impl Call<'_> {
    /// The world, as far as this render may see it.
    pub fn host(&mut self) -> &mut dyn Host {
        &mut *self.host
    }

    /// The name that the template calls the function by.
    pub fn function(&self) -> &str {
        self.function
    }

    /// Where the call stands.
    pub fn site(&self) -> Site<'_> {
        self.site
    }

    /// Charges for work beyond the call itself: about one unit for each 100 ns. Checks the deadline now and then.
    pub fn spend(&mut self, fuel: u64) -> Result<(), FuncError> {
        self.meter.spend(fuel, self.host).map_err(FuncError::limit)
    }

    /// Charges for memory that the result takes; call it *before* allocating what the input's size does not bound. Results
    /// that are strings are charged by the machine as well, so plain ones need no call.
    pub fn allocate(&mut self, bytes: usize) -> Result<(), FuncError> {
        self.meter.allocate(bytes).map_err(FuncError::limit)
    }

    /// Counts one costly piece of cryptography.
    pub fn crypto(&mut self) -> Result<(), FuncError> {
        self.meter.crypto().map_err(FuncError::limit)
    }

    /// Random bytes by the host's policy, which may refuse them.
    pub fn random(&mut self, buffer: &mut [u8]) -> Result<(), FuncError> {
        let (function, site) = (self.function, self.site);
        self.host.random(function, &site, buffer)
    }

    /// The time by the host's policy, in nanoseconds since 1970.
    pub fn now(&mut self) -> Result<i128, FuncError> {
        let (function, site) = (self.function, self.site);
        self.host.now(function, &site)
    }
}

/// Why a function failed. The machine wraps it as Go does: `error calling NAME: …`.
#[derive(Debug)]
pub struct FuncError {
    pub(crate) message: String,
    pub(crate) cause: Option<Cause>,
}

#[derive(Debug)]
pub(crate) enum Cause {
    /// A template that the function executed.
    Template(Box<Error>),
    /// A bound of ours.
    Limit(Limit),
    /// The host's policy.
    Policy,
}

impl FuncError {
    /// What Go's error says (or what the panic says: templates turn both into the same text).
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            cause: None,
        }
    }

    /// A function that the render's policy forbids.
    pub fn policy(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            cause: Some(Cause::Policy),
        }
    }

    /// A bound was reached. It ends the render whatever the template does.
    pub fn limit(limit: Limit) -> Self {
        Self {
            message: limit.to_string(),
            cause: Some(Cause::Limit(limit)),
        }
    }

    /// An executed template's error under words of the function's own.
    pub fn template(message: impl Into<String>, error: Box<Error>) -> Self {
        Self {
            message: message.into(),
            cause: Some(Cause::Template(error)),
        }
    }

    /// What it says.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for FuncError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for FuncError {}

impl From<Limit> for FuncError {
    fn from(limit: Limit) -> Self {
        Self::limit(limit)
    }
}

//! Values with types of their own: times, durations, versions, certificates.

use std::any::Any;
use std::borrow::Cow;

use roadstead_template::{
    Call, Field, FuncError, Int, IntKind, Method, Object, Signature, Type, Underlying, Value,
};

use crate::go::duration;
use crate::go::time::{Time, Zone, month_name, week_day_name};
use crate::semver::{self, Version};

/// A `time.Time`.
pub struct TimeObject(pub Time);

/// A `time.Duration`, in nanoseconds.
pub struct DurationObject(pub i64);

/// A `time.Month`, from 1.
pub struct MonthObject(pub u32);

/// A `time.Weekday`, from 0 for Sunday.
pub struct WeekdayObject(pub u32);

/// A `*semver.Version`.
pub struct VersionObject(pub Version);

/// What Sprig's certificate functions give: PEM texts.
pub struct CertificateObject {
    /// The certificate.
    pub cert: Vec<u8>,
    /// Its private key.
    pub key: Vec<u8>,
}

/// The type of times.
pub const TIME: Type = Type::Object("time.Time");
/// The type of durations.
pub const DURATION: Type = Type::Object("time.Duration");
/// The type of certificates.
pub const CERTIFICATE: Type = Type::Object("sprig.certificate");
const VERSION: Type = Type::Object("*semver.Version");

type Outcome = Result<Value, FuncError>;

const NONE: Signature = Signature::fixed(&[]);
const TEXT: Signature = Signature::fixed(&[Type::Str]);

const fn method(
    name: &'static str,
    signature: Signature,
    call: fn(&Value, &mut Call<'_>, &[Value]) -> Outcome,
) -> Method {
    Method {
        name,
        signature,
        call,
    }
}

/// Wraps a time.
pub fn time_value(time: Time) -> Value {
    Value::object(TimeObject(time))
}

fn time_of(value: &Value) -> Result<&Time, FuncError> {
    value
        .downcast::<TimeObject>()
        .map(|object| &object.0)
        .ok_or_else(|| {
            FuncError::new("runtime error: invalid memory address or nil pointer dereference")
        })
}

fn duration_of(value: &Value) -> Result<i64, FuncError> {
    value
        .downcast::<DurationObject>()
        .map(|object| object.0)
        .ok_or_else(|| {
            FuncError::new("runtime error: invalid memory address or nil pointer dereference")
        })
}

fn version_of(value: &Value) -> Result<&Version, FuncError> {
    value
        .downcast::<VersionObject>()
        .map(|object| &object.0)
        .ok_or_else(|| {
            FuncError::new("runtime error: invalid memory address or nil pointer dereference")
        })
}

fn number(args: &[Value], at: usize) -> i64 {
    match args.get(at) {
        Some(Value::Int(int)) => int.as_i64(),
        _ => 0,
    }
}

fn int(value: impl Into<i64>) -> Outcome {
    Ok(Value::int(value.into()))
}

const TIME_METHODS: &[Method] = &[
    method("Add", Signature::fixed(&[DURATION]), |this, _, args| {
        Ok(time_value(time_of(this)?.add(duration_of(&args[0])?)))
    }),
    method(
        "AddDate",
        Signature::fixed(&[Type::INT, Type::INT, Type::INT]),
        |this, _, args| {
            let by = |at| number(args, at);
            Ok(time_value(time_of(this)?.add_date(by(0), by(1), by(2))))
        },
    ),
    method("After", Signature::fixed(&[TIME]), |this, _, args| {
        Ok(Value::Bool(time_of(this)?.since(time_of(&args[0])?) > 0))
    }),
    method("Before", Signature::fixed(&[TIME]), |this, _, args| {
        Ok(Value::Bool(time_of(this)?.since(time_of(&args[0])?) < 0))
    }),
    method("Compare", Signature::fixed(&[TIME]), |this, _, args| {
        int(time_of(this)?.since(time_of(&args[0])?).signum())
    }),
    method("Equal", Signature::fixed(&[TIME]), |this, _, args| {
        Ok(Value::Bool(time_of(this)? == time_of(&args[0])?))
    }),
    method("Day", NONE, |this, _, _| int(time_of(this)?.date().2)),
    method("Format", TEXT, |this, _, args| {
        let layout = args[0].as_str().cloned().unwrap_or_default();
        Ok(Value::str(time_of(this)?.format(&layout)))
    }),
    method("GoString", NONE, |this, _, _| {
        let time = time_of(this)?;
        let ((year, month, day), (hour, minute, second)) = (time.date(), time.clock());
        let month = month_name(month);
        let zone = match &time.zone {
            Zone::Utc => "time.UTC".to_owned(),
            Zone::Local => "time.Local".to_owned(),
            other => format!(
                "time.Location({})",
                crate::go::strconv::quote(other.at(time.unix).0.as_bytes())
            ),
        };
        Ok(Value::from(format!(
            "time.Date({year}, time.{month}, {day}, {hour}, {minute}, {second}, {}, {zone})",
            time.nanoseconds
        )))
    }),
    method("Hour", NONE, |this, _, _| int(time_of(this)?.clock().0)),
    method("IsDST", NONE, |this, _, _| {
        Ok(Value::Bool(time_of(this)?.is_summer()))
    }),
    method("IsZero", NONE, |this, _, _| {
        Ok(Value::Bool(*time_of(this)? == Time::zero()))
    }),
    method("Local", NONE, |this, _, _| {
        Ok(time_value(time_of(this)?.within(Zone::Local)))
    }),
    method("Minute", NONE, |this, _, _| int(time_of(this)?.clock().1)),
    method("Month", NONE, |this, _, _| {
        Ok(Value::object(MonthObject(time_of(this)?.date().1)))
    }),
    method("Nanosecond", NONE, |this, _, _| {
        int(time_of(this)?.nanoseconds)
    }),
    method("Round", Signature::fixed(&[DURATION]), |this, _, args| {
        let (time, unit) = (time_of(this)?, duration_of(&args[0])?);
        Ok(time_value(time.add(time.to_multiple(unit, true))))
    }),
    method("Second", NONE, |this, _, _| int(time_of(this)?.clock().2)),
    method("String", NONE, |this, _, _| {
        Ok(Value::from(time_of(this)?.to_string()))
    }),
    method("Sub", Signature::fixed(&[TIME]), |this, _, args| {
        let by = time_of(this)?.since(time_of(&args[0])?);
        Ok(Value::object(DurationObject(by)))
    }),
    method(
        "Truncate",
        Signature::fixed(&[DURATION]),
        |this, _, args| {
            let (time, unit) = (time_of(this)?, duration_of(&args[0])?);
            Ok(time_value(time.add(time.to_multiple(unit, false))))
        },
    ),
    method("UTC", NONE, |this, _, _| {
        Ok(time_value(time_of(this)?.within(Zone::Utc)))
    }),
    method("Unix", NONE, |this, _, _| {
        Ok(Value::int64(time_of(this)?.unix))
    }),
    method("UnixMilli", NONE, |this, _, _| {
        Ok(Value::int64(time_of(this)?.unix_in(1_000)))
    }),
    method("UnixMicro", NONE, |this, _, _| {
        Ok(Value::int64(time_of(this)?.unix_in(1_000_000)))
    }),
    method("UnixNano", NONE, |this, _, _| {
        Ok(Value::int64(time_of(this)?.unix_in(1_000_000_000)))
    }),
    method("Weekday", NONE, |this, _, _| {
        Ok(Value::object(WeekdayObject(time_of(this)?.week_day())))
    }),
    method("Year", NONE, |this, _, _| int(time_of(this)?.date().0)),
    method("YearDay", NONE, |this, _, _| int(time_of(this)?.year_day())),
];

impl Object for TimeObject {
    fn type_name(&self) -> &'static str {
        "time.Time"
    }

    fn underlying(&self) -> Underlying {
        // What fmt shows of the fields is never seen: a time has a text of its own.
        Underlying::Struct(Vec::new())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn methods(&self) -> &'static [Method] {
        TIME_METHODS
    }

    fn string(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Owned(self.0.to_string()))
    }

    fn json(&self) -> Outcome {
        let year = self.0.date().0;
        if !(0..10_000).contains(&year) {
            return Err(FuncError::new(
                "json: error calling MarshalJSON for type time.Time: Time.MarshalJSON: year outside of range [0,9999]",
            ));
        }
        Ok(Value::str(
            self.0.format(b"2006-01-02T15:04:05.999999999Z07:00"),
        ))
    }

    fn equals(&self, other: &dyn Object) -> Option<bool> {
        let other = other.as_any().downcast_ref::<TimeObject>()?;
        Some(self.0 == other.0)
    }
}

const DURATION_METHODS: &[Method] = &[
    method("Abs", NONE, |this, _, _| {
        let value = duration_of(this)?;
        Ok(Value::object(DurationObject(value.saturating_abs())))
    }),
    method("Hours", NONE, |this, _, _| {
        Ok(Value::Float(duration_in(duration_of(this)?, 3_600)))
    }),
    method("Microseconds", NONE, |this, _, _| {
        Ok(Value::int64(duration_of(this)? / 1_000))
    }),
    method("Milliseconds", NONE, |this, _, _| {
        Ok(Value::int64(duration_of(this)? / 1_000_000))
    }),
    method("Minutes", NONE, |this, _, _| {
        Ok(Value::Float(duration_in(duration_of(this)?, 60)))
    }),
    method("Nanoseconds", NONE, |this, _, _| {
        Ok(Value::int64(duration_of(this)?))
    }),
    method("Round", Signature::fixed(&[DURATION]), |this, _, args| {
        let value = duration::round(duration_of(this)?, duration_of(&args[0])?);
        Ok(Value::object(DurationObject(value)))
    }),
    method("Seconds", NONE, |this, _, _| {
        Ok(Value::Float(duration_in(duration_of(this)?, 1)))
    }),
    method("String", NONE, |this, _, _| {
        Ok(Value::from(duration::to_string(duration_of(this)?)))
    }),
    method(
        "Truncate",
        Signature::fixed(&[DURATION]),
        |this, _, args| {
            let value = duration::truncate(duration_of(this)?, duration_of(&args[0])?);
            Ok(Value::object(DurationObject(value)))
        },
    ),
];

/// A duration in units of so many seconds: whole ones and the rest are divided on their own, as Go does.
fn duration_in(value: i64, seconds: i64) -> f64 {
    let unit = seconds * duration::SECOND;
    (value / unit) as f64 + (value % unit) as f64 / unit as f64
}

fn named_int(value: i64) -> Underlying {
    Underlying::Int(Int::new(IntKind::Int, value))
}

impl Object for DurationObject {
    fn type_name(&self) -> &'static str {
        "time.Duration"
    }

    fn underlying(&self) -> Underlying {
        Underlying::Int(Int::new(IntKind::Int64, self.0))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn methods(&self) -> &'static [Method] {
        DURATION_METHODS
    }

    fn string(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Owned(duration::to_string(self.0)))
    }

    fn equals(&self, other: &dyn Object) -> Option<bool> {
        Some(other.as_any().downcast_ref::<Self>()?.0 == self.0)
    }
}

impl Object for MonthObject {
    fn type_name(&self) -> &'static str {
        "time.Month"
    }

    fn underlying(&self) -> Underlying {
        named_int(i64::from(self.0))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn methods(&self) -> &'static [Method] {
        const METHODS: &[Method] = &[method("String", NONE, |this, _, _| {
            let month = this.downcast::<MonthObject>().map_or(1, |object| object.0);
            Ok(Value::from(month_name(month)))
        })];
        METHODS
    }

    fn string(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(month_name(self.0)))
    }

    fn equals(&self, other: &dyn Object) -> Option<bool> {
        Some(other.as_any().downcast_ref::<Self>()?.0 == self.0)
    }
}

impl Object for WeekdayObject {
    fn type_name(&self) -> &'static str {
        "time.Weekday"
    }

    fn underlying(&self) -> Underlying {
        named_int(i64::from(self.0))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn methods(&self) -> &'static [Method] {
        const METHODS: &[Method] = &[method("String", NONE, |this, _, _| {
            let day = this
                .downcast::<WeekdayObject>()
                .map_or(0, |object| object.0);
            Ok(Value::from(week_day_name(day)))
        })];
        METHODS
    }

    fn string(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(week_day_name(self.0)))
    }

    fn equals(&self, other: &dyn Object) -> Option<bool> {
        Some(other.as_any().downcast_ref::<Self>()?.0 == self.0)
    }
}

/// Wraps a version.
pub fn version_value(version: Version) -> Value {
    Value::object(VersionObject(version))
}

fn unsigned(value: u64) -> Outcome {
    Ok(Value::Int(Int::unsigned(IntKind::Uint64, value)))
}

fn compared(this: &Value, args: &[Value]) -> Result<i64, FuncError> {
    Ok(semver::compare(version_of(this)?, version_of(&args[0])?) as i64)
}

fn next(version: Result<Version, String>) -> Outcome {
    version
        .map(|version| Value::object(PlainVersionObject(version)))
        .map_err(FuncError::new)
}

fn text(args: &[Value]) -> String {
    args[0]
        .as_str()
        .map_or(String::new(), |text| text.to_text().into_owned())
}

const VERSION_METHODS: &[Method] = &[
    method("Compare", Signature::fixed(&[VERSION]), |this, _, args| {
        int(compared(this, args)?)
    }),
    method("Equal", Signature::fixed(&[VERSION]), |this, _, args| {
        if args[0].is_nil() {
            return Ok(Value::Bool(false));
        }
        Ok(Value::Bool(compared(this, args)? == 0))
    }),
    method(
        "GreaterThan",
        Signature::fixed(&[VERSION]),
        |this, _, args| Ok(Value::Bool(compared(this, args)? > 0)),
    ),
    method(
        "GreaterThanEqual",
        Signature::fixed(&[VERSION]),
        |this, _, args| Ok(Value::Bool(compared(this, args)? >= 0)),
    ),
    method("IncMajor", NONE, |this, _, _| {
        next(version_of(this)?.next_major())
    }),
    method("IncMinor", NONE, |this, _, _| {
        next(version_of(this)?.next_minor())
    }),
    method("IncPatch", NONE, |this, _, _| {
        next(version_of(this)?.next_patch())
    }),
    method("LessThan", Signature::fixed(&[VERSION]), |this, _, args| {
        Ok(Value::Bool(compared(this, args)? < 0))
    }),
    method(
        "LessThanEqual",
        Signature::fixed(&[VERSION]),
        |this, _, args| Ok(Value::Bool(compared(this, args)? <= 0)),
    ),
    method("Major", NONE, |this, _, _| {
        unsigned(version_of(this)?.major)
    }),
    method("Metadata", NONE, |this, _, _| {
        Ok(Value::from(version_of(this)?.metadata.as_str()))
    }),
    method("Minor", NONE, |this, _, _| {
        unsigned(version_of(this)?.minor)
    }),
    method("Original", NONE, |this, _, _| {
        Ok(Value::from(version_of(this)?.original.as_str()))
    }),
    method("Patch", NONE, |this, _, _| {
        unsigned(version_of(this)?.patch)
    }),
    method("Prerelease", NONE, |this, _, _| {
        Ok(Value::from(version_of(this)?.pre.as_str()))
    }),
    method("SetMetadata", TEXT, |this, _, args| {
        next(version_of(this)?.with_metadata(&text(args)))
    }),
    method("SetPrerelease", TEXT, |this, _, args| {
        next(version_of(this)?.with_pre(&text(args)))
    }),
    method("String", NONE, |this, _, _| {
        Ok(Value::from(version_of(this)?.to_string()))
    }),
];

impl Object for VersionObject {
    fn type_name(&self) -> &'static str {
        "*semver.Version"
    }

    fn underlying(&self) -> Underlying {
        Underlying::Struct(Vec::new())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn methods(&self) -> &'static [Method] {
        VERSION_METHODS
    }

    fn string(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Owned(self.0.to_string()))
    }

    fn json(&self) -> Outcome {
        Ok(Value::from(self.0.to_string()))
    }

    fn equals(&self, other: &dyn Object) -> Option<bool> {
        // Pointers are compared, not what they point to.
        let other = other.as_any().downcast_ref::<Self>()?;
        Some(std::ptr::eq(self, other))
    }
}

/// A `semver.Version` that is no pointer: what the `Inc…` methods give.
pub struct PlainVersionObject(pub Version);

fn plain_version_of(value: &Value) -> Result<&Version, FuncError> {
    value
        .downcast::<PlainVersionObject>()
        .map(|object| &object.0)
        .ok_or_else(|| {
            FuncError::new("runtime error: invalid memory address or nil pointer dereference")
        })
}

/// Those with value receivers: the others need a variable that can be pointed at.
const PLAIN_VERSION_METHODS: &[Method] = &[
    method("IncMajor", NONE, |this, _, _| {
        next(plain_version_of(this)?.next_major())
    }),
    method("IncMinor", NONE, |this, _, _| {
        next(plain_version_of(this)?.next_minor())
    }),
    method("IncPatch", NONE, |this, _, _| {
        next(plain_version_of(this)?.next_patch())
    }),
    method("Major", NONE, |this, _, _| {
        unsigned(plain_version_of(this)?.major)
    }),
    method("Metadata", NONE, |this, _, _| {
        Ok(Value::from(plain_version_of(this)?.metadata.as_str()))
    }),
    method("Minor", NONE, |this, _, _| {
        unsigned(plain_version_of(this)?.minor)
    }),
    method("Patch", NONE, |this, _, _| {
        unsigned(plain_version_of(this)?.patch)
    }),
    method("Prerelease", NONE, |this, _, _| {
        Ok(Value::from(plain_version_of(this)?.pre.as_str()))
    }),
    method("SetMetadata", TEXT, |this, _, args| {
        next(plain_version_of(this)?.with_metadata(&text(args)))
    }),
    method("SetPrerelease", TEXT, |this, _, args| {
        next(plain_version_of(this)?.with_pre(&text(args)))
    }),
    method("String", NONE, |this, _, _| {
        Ok(Value::from(plain_version_of(this)?.to_string()))
    }),
];

impl Object for PlainVersionObject {
    fn type_name(&self) -> &'static str {
        "semver.Version"
    }

    fn underlying(&self) -> Underlying {
        Underlying::Struct(Vec::new())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn methods(&self) -> &'static [Method] {
        PLAIN_VERSION_METHODS
    }

    fn string(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Owned(self.0.to_string()))
    }

    fn json(&self) -> Outcome {
        Ok(Value::from(self.0.to_string()))
    }

    fn equals(&self, other: &dyn Object) -> Option<bool> {
        Some(other.as_any().downcast_ref::<Self>()?.0 == self.0)
    }
}

impl Object for CertificateObject {
    fn type_name(&self) -> &'static str {
        "sprig.certificate"
    }

    fn underlying(&self) -> Underlying {
        Underlying::Struct(vec![
            Field::new("Cert", Value::str(&self.cert[..])),
            Field::new("Key", Value::str(&self.key[..])),
        ])
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn equals(&self, other: &dyn Object) -> Option<bool> {
        let other = other.as_any().downcast_ref::<Self>()?;
        Some(self.cert == other.cert && self.key == other.key)
    }
}
